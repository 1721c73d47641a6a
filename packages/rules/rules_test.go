// Package rules holds the repository's own rules as tests: what a reviewer would
// otherwise have to remember.
package rules

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const top = "../.."

// goFiles calls f for every Go file that is not a test.
func goFiles(t *testing.T, f func(path string)) {
	t.Helper()
	n := 0
	for _, dir := range []string{"cmd", "packages", "images"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				n++
				f(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatal("no Go files found")
	}
}

func TestTopLevel(t *testing.T) {
	ents, err := os.ReadDir(top)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"LICENSE", "Makefile", "README.md", "cmd", "config.json", "go.mod", "go.sum", "hardware", "images", "packages"}
	var got []string
	for _, e := range ents {
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "build" {
			got = append(got, e.Name())
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("top level (-want +got):\n%s", d)
	}
}

// Every package says what it promises; the comment is its specification.
func TestPackageComments(t *testing.T) {
	documented := map[string]bool{}
	goFiles(t, func(path string) {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || f.Doc != nil && len(f.Doc.Text()) > 60
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no package comment that says what it promises", dir)
		}
	}
}

// Programs use packages, never the other way round.
func TestImports(t *testing.T) {
	goFiles(t, func(path string) {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, imp := range f.Imports {
			if name := strings.Trim(imp.Path.Value, `"`); strings.HasPrefix(name, "micromirror/cmd/") {
				t.Errorf("%s imports %s: move what it needs into packages/", path, name)
			}
		}
	})
}

func TestMainsAreSmall(t *testing.T) {
	goFiles(t, func(path string) {
		if filepath.Base(path) != "main.go" {
			return
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n > 80 {
			t.Errorf("%s: %d lines, want at most 80: move the logic into a package", path, n)
		}
	})
}

// A registry's host name in a file would tie the build to one network, and words
// that announce unfinished work have no place in what is submitted.
func TestForbiddenWords(t *testing.T) {
	words := []string{"deb." + "debian.org", "proxy." + "golang.org", "registry." + "npmjs", "TO" + "DO", "FIX" + "ME"}
	goFiles(t, func(path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if strings.Contains(string(data), w) {
				t.Errorf("%s contains %q", path, w)
			}
		}
	})
}

// The gokrazy instance: what runs on a node, and that nothing of gokrazy listens.
func TestInstance(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Update      struct{ NoPassword bool }
		Packages    []string
		Environment []string
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	if !c.Update.NoPassword {
		t.Error("config.json: Update.NoPassword is not true: gokrazy's web interface would take ports 80 and 443")
	}
	if !slices.Contains(c.Environment, "GOAMD64=v2") {
		t.Error("config.json: GOAMD64=v2 is missing: the T620 has no AVX2")
	}
	for _, p := range c.Packages {
		dir := filepath.Join(top, strings.TrimPrefix(p, "micromirror/"))
		if _, err := os.Stat(filepath.Join(dir, "main.go")); err != nil {
			t.Errorf("config.json names %s: %v", p, err)
		}
	}
}

// These stay in go.mod whatever else changes.
func TestCoreDependencies(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"github.com/gokrazy/gokrazy", "github.com/gokrazy/rsync", "golang.org/x/crypto", "github.com/mdlayher/ndp", "github.com/vishvananda/netlink"} {
		if !strings.Contains(string(data), "\t"+m+" v") {
			t.Errorf("go.mod does not require %s", m)
		}
	}
}
