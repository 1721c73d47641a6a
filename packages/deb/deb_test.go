package deb

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// archive is a Debian archive on this machine's disk, signed with a key of its
// own.
type archive struct{ dir, home, keyring string }

func newArchive(t *testing.T) *archive {
	t.Helper()
	// gpg-agent's socket must have a short name.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	a := &archive{dir: t.TempDir(), home: home}
	a.keyring = filepath.Join(a.dir, "keyring.gpg")
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	a.gpg(t, "--passphrase", "", "--quick-gen-key", "test archive", "ed25519", "sign", "never")
	a.gpg(t, "--output", a.keyring, "--export")
	return a
}

func (a *archive) gpg(t *testing.T, args ...string) {
	t.Helper()
	run(t, "gpg", append([]string{"--homedir", a.home, "--batch", "--yes", "--quiet"}, args...)...)
}

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// publish makes the packages, "name version depends" each, the whole content of
// a suite.
func (a *archive) publish(t *testing.T, suite string, packages ...string) {
	t.Helper()
	a.publishIn(t, suite, map[string][]string{"main": packages})
}

// publishIn is the same for several components.
func (a *archive) publishIn(t *testing.T, suite string, components map[string][]string) {
	t.Helper()
	dist := filepath.Join(a.dir, "dists", suite)
	var sums strings.Builder
	names := slices.Sorted(maps.Keys(components))
	for _, component := range names {
		file := component + "/binary-amd64/Packages"
		index := a.index(t, components[component])
		write(t, filepath.Join(dist, file), index)
		fmt.Fprintf(&sums, " %x %d %s\n", sha256.Sum256([]byte(index)), len(index), file)
	}
	write(t, filepath.Join(dist, "Release"), fmt.Sprintf("Origin: Test\nSuite: %s\nCodename: %s\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"+
		"Architectures: amd64\nComponents: %s\nSHA256:\n%s", suite, suite, strings.Join(names, " "), &sums))
	a.gpg(t, "--clearsign", "--output", filepath.Join(dist, "InRelease"), filepath.Join(dist, "Release"))
}

// index makes packages and describes them.
func (a *archive) index(t *testing.T, packages []string) string {
	t.Helper()
	var index strings.Builder
	for _, p := range packages {
		f := strings.SplitN(p+"  ", " ", 3)
		control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: T <t@test>\nDescription: test\n", f[0], f[1])
		if d := strings.TrimSpace(f[2]); d != "" {
			control += "Depends: " + d + "\n"
		}
		root := t.TempDir()
		write(t, filepath.Join(root, "DEBIAN/control"), control)
		write(t, filepath.Join(root, "usr/share", f[0]), "content of "+f[0]+" "+f[1]+"\n")
		name := "pool/" + f[0] + "_" + strings.ReplaceAll(f[1], ":", ".") + ".deb"
		write(t, filepath.Join(a.dir, "pool/.keep"), "")
		run(t, "dpkg-deb", "--root-owner-group", "-b", root, filepath.Join(a.dir, name))
		b, err := os.ReadFile(filepath.Join(a.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&index, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", control, name, len(b), sha256.Sum256(b))
	}
	return index.String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (a *archive) options(dir string, want ...Want) Options {
	return Options{Dir: dir, Want: want, Archive: "copy:" + a.dir, Keyring: a.keyring}
}

func versions(ps []Package) (out []string) {
	for _, p := range ps {
		out = append(out, p.Suite+" "+p.Wanted+" "+p.Name+" "+p.Version)
	}
	return out
}

func TestFetchKeepsAndUnpacks(t *testing.T) {
	a := newArchive(t)
	a.publish(t, "one", "linux-image-amd64 6.12-1 linux-image-6.12.1-amd64 (= 6.12-1)", "linux-image-6.12.1-amd64 6.12-1", "tool 1:2.0-1")
	a.publish(t, "two", "tool 1:3.0~rc1-1")
	o := a.options(t.TempDir(), Want{Suite: "two", Name: "tool", MinVersion: "1:3.0~"},
		Want{Suite: "one", Name: "linux-image-amd64", Depends: "linux-image-6"}, Want{Suite: "one", Name: "tool"})
	steps := map[string]bool{}
	o.Progress = func(p Progress) { steps[p.Suite+" "+p.Step] = true }
	got, err := Fetch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"two tool tool 1:3.0~rc1-1", "one linux-image-amd64 linux-image-6.12.1-amd64 6.12-1", "one tool tool 1:2.0-1"}
	if d := cmp.Diff(want, versions(got)); d != "" {
		t.Errorf("packages (-want +got):\n%s", d)
	}
	if !steps["one packages"] || !steps["two lists"] {
		t.Errorf("progress was told of %v only", steps)
	}
	dir := filepath.Join(t.TempDir(), "unpacked")
	for range 2 {
		if err := got[1].Unpack(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "usr/share/linux-image-6.12.1-amd64")); err != nil || string(b) != "content of linux-image-6.12.1-amd64 6.12-1\n" {
		t.Errorf("unpacked file: %q, %v", b, err)
	}

	// Without the archive: from the cache.
	o.Archive = "copy:/nosuch"
	again, err := Fetch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, again); d != "" {
		t.Errorf("from the cache (-first +second):\n%s", d)
	}
}

// A component beside main is asked for only by those who want something of it,
// and is not in the archive for others.
func TestFetchFromAnotherComponent(t *testing.T) {
	a := newArchive(t)
	a.publishIn(t, "one", map[string][]string{"main": {"tool 1.0-1"}, "non-free-firmware": {"firmware 2026-1"}})
	blob := Want{Suite: "one", Name: "firmware", Component: "non-free-firmware"}
	got, err := Fetch(t.Context(), a.options(t.TempDir(), Want{Suite: "one", Name: "tool"}, blob))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"one tool tool 1.0-1", "one firmware firmware 2026-1"}, versions(got)); d != "" {
		t.Errorf("packages (-want +got):\n%s", d)
	}
	blob.Component = ""
	if _, err := Fetch(t.Context(), a.options(t.TempDir(), blob)); err == nil || !strings.Contains(err.Error(), "not in the archive's index") {
		t.Errorf("from main: error %v", err)
	}
}

func TestFetchRefreshesOnlyWhenAsked(t *testing.T) {
	a := newArchive(t)
	a.publish(t, "one", "tool 1.0-1")
	o := a.options(t.TempDir(), Want{Suite: "one", Name: "tool"})
	for i, want := range []string{"1.0-1", "1.0-1", "2.0-1"} {
		o.Refresh = i == 2
		got, err := Fetch(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Version != want {
			t.Errorf("fetch %d: version %s, want %s", i, got[0].Version, want)
		}
		a.publish(t, "one", "tool 2.0-1")
	}
	// A file that was changed behind our back is fetched again.
	pool, err := filepath.Glob(filepath.Join(o.Dir, "pool", "tool_2*.deb"))
	if err != nil || len(pool) != 1 {
		t.Fatal(pool, err)
	}
	write(t, pool[0], "garbage")
	o.Refresh = false
	got, err := Fetch(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if sum, _, err := hashFile(got[0].Path); err != nil || sum != got[0].SHA256 {
		t.Errorf("hash %s, %v; want %s", sum, err, got[0].SHA256)
	}
}

func TestFetchRefuses(t *testing.T) {
	a, other := newArchive(t), newArchive(t)
	a.publish(t, "one", "tool 1.0-1", "meta 1-1 tool")
	for _, c := range []struct {
		name, err string
		change    func(o *Options)
	}{
		{"unknown package", "nosuch", func(o *Options) { o.Want[0].Name = "nosuch" }},
		{"unknown suite", "suite three", func(o *Options) { o.Want[0].Suite = "three" }},
		{"old version", "older than the 2.0", func(o *Options) { o.Want[0].MinVersion = "2.0" }},
		{"no such dependency", "depends on no linux", func(o *Options) { o.Want[0] = Want{Suite: "one", Name: "meta", Depends: "linux"} }},
		{"foreign signature", "upgrade that package", func(o *Options) { o.Keyring = other.keyring }},
		{"changed index", "Hash Sum mismatch", func(*Options) {
			write(t, filepath.Join(a.dir, "dists/one/main/binary-amd64/Packages"), "Package: evil\n")
		}},
		{"no signature", "not signed", func(*Options) { os.Remove(filepath.Join(a.dir, "dists/one/InRelease")) }},
	} {
		o := a.options(t.TempDir(), Want{Suite: "one", Name: "tool"})
		c.change(&o)
		if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
	}
}

func TestFetchRefusesPackageThatIsNotAsIndexed(t *testing.T) {
	a := newArchive(t)
	a.publish(t, "one", "tool 1.0-1")
	write(t, filepath.Join(a.dir, "pool/tool_1.0-1.deb"), "not what was signed")
	if _, err := Fetch(t.Context(), a.options(t.TempDir(), Want{Suite: "one", Name: "tool"})); err == nil {
		t.Error("a package that differs from the index was taken")
	}
}

func TestRecordMustNotLeaveItsFolder(t *testing.T) {
	a := newArchive(t)
	o := a.options(t.TempDir(), Want{Suite: "one", Name: "tool"})
	write(t, filepath.Join(o.Dir, "pool/packages.json"), `[{"suite":"one","wanted":"tool","file":"../../etc/passwd"}]`)
	if _, err := Fetch(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is a path") {
		t.Errorf("error %v, want a refusal", err)
	}
}

func TestConfigurationKeepsTheMachinesHooksOut(t *testing.T) {
	conf, err := configuration(t.Context(), "/x")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"DPkg::", "APT::Update::Post", "APT::Periodic"} {
		if strings.Contains(conf, line) {
			t.Errorf("the configuration has %s", line)
		}
	}
	for _, line := range []string{`Dir::State "/x";`, `Acquire::AllowInsecureRepositories "false";`} {
		if !strings.Contains(conf, line) {
			t.Errorf("the configuration lacks %s", line)
		}
	}
}

func FuzzStanzas(f *testing.F) {
	f.Add("Package: a\nVersion: 1\n more\n\nPackage: b\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, st := range stanzas(text) {
			if len(st) == 0 {
				t.Error("an empty stanza")
			}
			dependency(st["depends"], "x")
		}
	})
}
