package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// program is a package manager.
type program struct {
	name string
	// prepare sets it up in a folder of its own for a mirror and returns one round
	// of work with it.
	prepare func(dir string, at addresses) (func(context.Context) error, error)
}

// addresses are where a mirror is reached.
type addresses struct{ http, rsync string }

func programs() []program {
	return []program{
		{"apt", func(dir string, at addresses) (func(context.Context) error, error) { return apt(dir, at.http, "yes") }},
		{"apt without by-hash", func(dir string, at addresses) (func(context.Context) error, error) { return apt(dir, at.http, "no") }},
		{"dnf", func(dir string, at addresses) (func(context.Context) error, error) { return dnf(dir, at.http) }},
		{"pacman", func(dir string, at addresses) (func(context.Context) error, error) { return pacman(dir, at.http) }},
		{"rsync", mirrorOn},
	}
}

// started is a program that ends together with what it has started: rsync's other
// half would keep its output open, and whoever reads that would wait for good.
func started(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	return cmd
}

// run runs a package manager; an error tells what it says about errors.
func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := started(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append(env, "LC_ALL=C", "HOME="+dir)...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	var said []string
	for line := range strings.Lines(string(out)) {
		if text := strings.TrimSpace(line); strings.HasPrefix(text, "E:") || strings.Contains(strings.ToLower(text), "error") {
			said = append(said, text)
		}
	}
	if len(said) == 0 {
		said = []string{fmt.Sprintf("%.200q", out)}
	}
	return fmt.Errorf("%s: %w: %.1000s", name, err, strings.Join(said, "; "))
}

const aptConf = `Dir "%[1]s/";
Dir::State "state"; Dir::State::status "%[1]s/status"; Dir::Cache "cache"; Dir::Etc "etc"; Dir::Log "log"; Dir::Bin::methods "/usr/lib/apt/methods/";
APT::Architecture "amd64"; APT::Architectures { "amd64"; }; APT::Sandbox::User "root"; APT::Update::Error-Mode "any";
Acquire::Languages "none"; Acquire::By-Hash "%[2]s"; Acquire::Retries "0"; Acquire::http::Proxy "false";
Acquire::PDiffs "false"; Acquire::GzipIndexes "false"; APT::Get::AllowUnauthenticated "true"; Acquire::AllowInsecureRepositories "true";
`

// apt updates its lists and downloads the package that they name.
func apt(dir, url, byHash string) (func(context.Context) error, error) {
	files := map[string]string{
		"apt.conf": fmt.Sprintf(aptConf, dir, byHash), "status": "",
		"etc/sources.list": "deb [trusted=yes] " + url + " x main\n",
	}
	err := write(dir, files, "state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "log", "got")
	env := []string{"APT_CONFIG=" + filepath.Join(dir, "apt.conf")}
	return func(ctx context.Context) error {
		if err := run(ctx, dir, env, "apt-get", "-q", "update"); err != nil {
			return err
		}
		err := run(ctx, filepath.Join(dir, "got"), env, "apt-get", "-q", "download", "p")
		return errors.Join(err, empty(filepath.Join(dir, "got")))
	}, err
}

// dnf fetches the metadata anew and downloads the package that they name.
func dnf(dir, url string) (func(context.Context) error, error) {
	conf := fmt.Sprintf("[main]\ncachedir=%[1]s/cache\npersistdir=%[1]s/persist\nlogdir=%[1]s\nreposdir=%[1]s/none\npluginpath=%[1]s/none\ngpgcheck=0\nretries=1\nminrate=1\ntimeout=20\nskip_if_unavailable=0\n"+
		"[x]\nname=x\nbaseurl=%[2]s/rpm/\n", dir, url)
	err := write(dir, map[string]string{"dnf.conf": conf}, "root", "got")
	common := []string{"-q", "-y", "-c", filepath.Join(dir, "dnf.conf"), "--installroot", filepath.Join(dir, "root"), "--releasever", "1", "--forcearch", "x86_64"}
	return func(ctx context.Context) error {
		err := run(ctx, dir, nil, "dnf", append(common, "--refresh", "install", "--downloadonly", "--downloaddir", filepath.Join(dir, "got"), "p")...)
		return errors.Join(err, empty(filepath.Join(dir, "got")))
	}, err
}

// pacman synchronises its database and downloads the package that it names.
func pacman(dir, url string) (func(context.Context) error, error) {
	conf := fmt.Sprintf("[options]\nRootDir=%[1]s/root\nDBPath=%[1]s/db\nCacheDir=%[1]s/got\nLogFile=%[1]s/log\nGPGDir=%[1]s/gpg\nHookDir=%[1]s/none\nArchitecture=x86_64\nSigLevel=Never\n[x]\nServer = %[2]s/arch\n", dir, url)
	err := write(dir, map[string]string{"pacman.conf": conf}, "root", "db", "got", "gpg")
	return func(ctx context.Context) error {
		err := run(ctx, dir, nil, "pacman", "--config", filepath.Join(dir, "pacman.conf"), "--noconfirm", "--noprogressbar", "-Syyw", "p")
		return errors.Join(err, empty(filepath.Join(dir, "got")))
	}, err
}

// write makes files and folders below dir.
func write(dir string, files map[string]string, folders ...string) error {
	for _, f := range folders {
		if err := os.MkdirAll(filepath.Join(dir, f), 0o755); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// empty removes what was downloaded, so that the next round downloads again.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
