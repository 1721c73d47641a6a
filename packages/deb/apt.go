package deb

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// apt is a private apt: its own lists, cache and dpkg status for one suite.
type apt struct {
	dir      string // all of its state
	suite    string
	conf     string
	progress func(Progress)
}

// fetchSuite fetches the wants numbered idx, all of one suite, into pool.
func fetchSuite(ctx context.Context, o Options, suite string, idx []int, pool string, found []Package) error {
	components := []string{"main"}
	for _, i := range idx {
		if c := o.Want[i].Component; c != "" && !slices.Contains(components, c) {
			components = append(components, c)
		}
	}
	a, err := o.update(ctx, suite, components)
	if err != nil {
		return err
	}
	var names []string
	for _, i := range idx {
		p, err := a.resolve(ctx, o.Want[i])
		if err != nil {
			return err
		}
		found[i] = p
		names = append(names, p.Name+"="+p.Version)
	}
	if err := a.run(ctx, pool, "packages", append([]string{"download"}, names...)...); err != nil {
		return err
	}
	for _, i := range idx {
		p := &found[i]
		p.Path = filepath.Join(pool, p.File)
		sum, size, err := hashFile(p.Path)
		if err != nil {
			return fmt.Errorf("fetch %s from %s: %w", p.Name, suite, err)
		}
		if sum != p.SHA256 {
			return fmt.Errorf("fetch %s from %s: hash is %s, the archive's index says %s", p.Name, suite, sum, p.SHA256)
		}
		p.Size = size
		o.Log.Info("package fetched", "name", p.Name, "version", p.Version, "suite", suite)
	}
	return nil
}

// update makes a private apt for suite with current lists. It tries the
// addresses that the machine knows until one serves the suite, signed.
func (o Options) update(ctx context.Context, suite string, components []string) (*apt, error) {
	main, security := []string{o.Archive}, []string(nil)
	var err error
	if o.Archive == "" {
		if main, security, err = archives(o.EtcApt); err != nil {
			return nil, err
		}
	}
	keyring, err := o.keyring()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, uri := range main {
		lines := sourceLine(uri, suite, keyring, components)
		if len(security) > 0 && hasSecurity(suite) {
			lines += sourceLine(security[0], suite+"-security", keyring, components)
		}
		a, err := newApt(ctx, filepath.Join(o.Dir, suite), suite, lines, o.Progress)
		if err != nil {
			return nil, err
		}
		if err = a.run(ctx, a.dir, "lists", "update"); err == nil {
			return a, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", uri, err))
	}
	return nil, fmt.Errorf("suite %s: %w", suite, errors.Join(errs...))
}

func sourceLine(uri, suite, keyring string, components []string) string {
	return fmt.Sprintf("deb [arch=amd64 target=Packages signed-by=%s] %s %s %s\n", keyring, uri, suite, strings.Join(components, " "))
}

// hasSecurity tells released suites, which have a security pocket, from the
// ever-moving one, which has none.
func hasSecurity(suite string) bool { return suite != "sid" && suite != "unstable" }

// keyring finds the keys of Debian's archive on this machine.
func (o Options) keyring() (string, error) {
	if o.Keyring != "" {
		return o.Keyring, nil
	}
	for _, ext := range []string{"gpg", "pgp"} {
		f := "/usr/share/keyrings/debian-archive-keyring." + ext
		if _, err := os.Stat(f); err == nil {
			return f, nil
		}
	}
	return "", errors.New("no keyring to check Debian's signatures with: install the package debian-archive-keyring")
}

func newApt(ctx context.Context, dir, suite, sources string, progress func(Progress)) (*apt, error) {
	for _, d := range []string{"lists/partial", "cache/archives/partial", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("private apt state: %w", err)
		}
	}
	conf, err := configuration(ctx, dir)
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"status": "", "sources.list": sources, "apt.conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("private apt state: %w", err)
		}
	}
	return &apt{dir: dir, suite: suite, conf: filepath.Join(dir, "apt.conf"), progress: progress}, nil
}

// configuration writes an apt.conf with this folder as apt's whole state. Of the
// machine's own settings only those on how to reach archives (proxies, retries,
// certificates) are taken over: its hooks must not run here.
func configuration(ctx context.Context, dir string) (string, error) {
	dump, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return "", fmt.Errorf("apt-config dump: %w", err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(dump)) {
		if strings.HasPrefix(line, "Acquire::") && !strings.HasPrefix(line, "Acquire::IndexTargets") {
			b.WriteString(line)
		}
	}
	for _, kv := range [][2]string{
		{"Dir::State", dir}, {"Dir::State::lists", dir + "/lists"}, {"Dir::State::status", dir + "/status"},
		{"Dir::Cache", dir + "/cache"}, {"Dir::Cache::archives", dir + "/cache/archives"},
		{"Dir::Etc::sourcelist", dir + "/sources.list"}, {"Dir::Etc::sourceparts", dir + "/empty"},
		{"Dir::Etc::main", "/dev/null"}, {"Dir::Etc::parts", dir + "/empty"},
		{"Dir::Etc::preferences", "/dev/null"}, {"Dir::Etc::preferencesparts", dir + "/empty"},
		{"APT::Architecture", "amd64"}, {"APT::Update::Error-Mode", "any"}, {"APT::Get::List-Cleanup", "true"},
		{"APT::Sandbox::User", ""}, // its user could not read a folder in someone's home
		{"Acquire::AllowInsecureRepositories", "false"}, {"Acquire::AllowWeakRepositories", "false"},
		{"Acquire::AllowDowngradeToInsecureRepositories", "false"}, {"APT::Get::AllowUnauthenticated", "false"},
		{"Acquire::Languages", "none"}, {"Acquire::Retries", "3"},
	} {
		fmt.Fprintf(&b, "%s %q;\n", kv[0], kv[1])
	}
	b.WriteString("#clear APT::Architectures;\nAPT::Architectures { \"amd64\"; };\n")
	return b.String(), nil
}

func (a *apt) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), "APT_CONFIG="+a.conf, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // apt ends its download methods
	c.WaitDelay = 5 * time.Second
	return c
}

// run runs apt-get in dir and passes its progress on.
func (a *apt) run(ctx context.Context, dir, step string, args ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	c := a.command(ctx, "apt-get", append([]string{"-q", "-o", "APT::Status-Fd=3"}, args...)...)
	var out bytes.Buffer
	c.Dir, c.Stdout, c.Stderr, c.ExtraFiles = dir, &out, &out, []*os.File{w}
	err = c.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("apt-get: %w", err)
	}
	a.follow(r, step)
	if err := c.Wait(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lastWords(out.String()))
	}
	return nil
}

// follow reads apt's machine-readable progress: "dlstatus:N:PERCENT:TEXT".
func (a *apt) follow(r io.Reader, step string) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f := strings.SplitN(sc.Text(), ":", 4)
		if len(f) != 4 || f[0] != "dlstatus" {
			continue
		}
		if pct, err := strconv.ParseFloat(f[2], 64); err == nil {
			a.progress(Progress{Suite: a.suite, Step: step, Percent: min(max(pct, 0), 100), Message: f[3]})
		}
	}
}

// lastWords are apt's errors and warnings, with the usual way out of the
// commonest one.
func lastWords(out string) string {
	var keep []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "W: ") {
			keep = append(keep, strings.TrimSpace(line))
		}
	}
	s := strings.Join(keep, "; ")
	if strings.Contains(s, "NO_PUBKEY") || strings.Contains(s, "Missing key") {
		s += "; this machine's debian-archive-keyring is too old for that suite: upgrade that package"
	}
	return s
}

// resolve says which version of a want the archive offers.
func (a *apt) resolve(ctx context.Context, w Want) (Package, error) {
	st, err := a.show(ctx, w.Name)
	if err != nil {
		return Package{}, err
	}
	if w.Depends != "" {
		name := dependency(st["depends"], w.Depends)
		if name == "" {
			return Package{}, fmt.Errorf("%s in %s: depends on no %s… (%q)", w.Name, w.Suite, w.Depends, st["depends"])
		}
		if st, err = a.show(ctx, name); err != nil {
			return Package{}, err
		}
	}
	p := Package{Suite: w.Suite, Wanted: w.Name, Name: st["package"], Version: st["version"], SHA256: st["sha256"]}
	if p.Name == "" || p.Version == "" || len(p.SHA256) != 64 {
		return Package{}, fmt.Errorf("%s in %s: index entry lacks name, version or hash", w.Name, w.Suite)
	}
	// apt-get download names the file so, whatever the archive calls it.
	p.File = fmt.Sprintf("%s_%s_%s.deb", p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), st["architecture"])
	return p, checkVersion(w, p.Version)
}

// show returns the fields of the newest version of a package.
func (a *apt) show(ctx context.Context, name string) (map[string]string, error) {
	out, err := a.command(ctx, "apt-cache", "show", "--no-all-versions", name).Output()
	if err != nil {
		return nil, fmt.Errorf("%s in %s: not in the archive's index: %w", name, a.suite, err)
	}
	st := stanzas(string(out))
	if len(st) == 0 {
		return nil, fmt.Errorf("%s in %s: not in the archive's index", name, a.suite)
	}
	return st[0], nil
}

// dependency returns the first name in a Depends field that begins with prefix.
func dependency(depends, prefix string) string {
	for alt := range strings.FieldsFuncSeq(depends, func(r rune) bool { return r == ',' || r == '|' }) {
		f := strings.Fields(alt)
		if len(f) == 0 {
			continue
		}
		name, _, _ := strings.Cut(f[0], ":")
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}
