package deb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Apt configurations as they are found on Debian machines, and what is Debian's
// archive in each. The host names are invented.
func TestArchives(t *testing.T) {
	for _, c := range []struct {
		name           string
		files          map[string]string
		main, security []string
	}{
		{"Debian 12, one-line", map[string]string{"sources.list": `
# deb cdrom:[Debian]/ bookworm main
deb http://mirror.test/debian/ bookworm main non-free-firmware
deb-src http://source.test/debian/ bookworm main
deb http://mirror.test/debian/ bookworm-updates main # comment
deb http://security.test/debian-security bookworm-security main
`}, []string{"http://mirror.test/debian/"}, []string{"http://security.test/debian-security"}},
		{"Debian 13, deb822", map[string]string{"sources.list.d/debian.sources": `
Types: deb deb-src
# a comment
URIs: http://mirror.test/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp

Types: deb
URIs: http://security.test/debian-security
Suites: trixie-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----
`}, []string{"http://mirror.test/debian"}, []string{"http://security.test/debian-security"}},
		{"cloud image: list of mirrors", map[string]string{"sources.list.d/debian.sources": `
Types: deb
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: trixie
Components: main`}, []string{"mirror+file:///etc/apt/mirrors/debian.list"}, nil},
		{"third parties that use Debian's suite names", map[string]string{
			"sources.list.d/a.list":    "deb [arch=amd64 signed-by=/etc/apt/keyrings/x.gpg] https://x.test/linux bookworm stable\n",
			"sources.list.d/b.list":    "deb https://y.test/apt stable main\ndeb https://z.test nodistro main\ndeb https://pg.test/ bookworm-pgdg main\n",
			"sources.list.d/d.sources": "Enabled: no\nTypes: deb\nURIs: http://off.test/debian\nSuites: sid\nComponents: main\n",
			"sources.list.d/e.list":    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.test/debian bookworm main\n",
			"sources.list.d/f.save":    "deb http://old.test/debian bookworm main\n",
		}, []string{"http://mirror.test/debian", "https://y.test/apt"}, nil},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		main, security, err := archives(dir)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff([][]string{c.main, c.security}, [][]string{main, security}); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestArchivesSaysWhatToDoWithoutAny(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte("deb http://u.test/ubuntu noble main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := archives(dir); err == nil || !strings.Contains(err.Error(), "add one") {
		t.Errorf("error %v, want one with a remedy", err)
	}
}

func FuzzSources(f *testing.F) {
	f.Add("deb [a=b] http://x.test/debian sid main\n")
	f.Add("Types: deb\nURIs: http://x.test\nSuites: sid\n sid\nComponents: main\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		main, security := choose(append(parseOneLine(text), parseDeb822(text)...))
		for _, u := range append(main, security...) {
			if strings.ContainsAny(u, " \t\n") {
				t.Errorf("address %q would break sources.list", u)
			}
		}
	})
}

func TestDependency(t *testing.T) {
	const depends = "linux-base (>= 4), linux-image-6.12.9+deb13-amd64 (= 6.12.9-1) | linux-image-x, kmod:any"
	for prefix, want := range map[string]string{"linux-image-6.12": "linux-image-6.12.9+deb13-amd64", "kmod": "kmod", "linux-image-7": ""} {
		if got := dependency(depends, prefix); got != want {
			t.Errorf("dependency on %s = %q, want %q", prefix, got, want)
		}
	}
}

func TestLastWords(t *testing.T) {
	got := lastWords("Get:1 x\nW: GPG error: NO_PUBKEY 1234\nReading\nE: The repository is not signed.\n")
	for _, want := range []string{"NO_PUBKEY 1234", "not signed", "upgrade that package"} {
		if !strings.Contains(got, want) {
			t.Errorf("last words %q lack %q", got, want)
		}
	}
}
