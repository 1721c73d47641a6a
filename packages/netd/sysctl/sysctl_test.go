package sysctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestApply(t *testing.T) {
	root := t.TempDir()
	write := func(name, value string, mode os.FileMode) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	changed := write("net/a", "0\n", 0o644)
	write("net/same", "1\t2  3\n", 0o644)
	if err := os.Symlink("/dev/null", filepath.Join(root, "net/deaf")); err != nil {
		t.Fatal(err)
	}
	failures := Apply(root, []Setting{{"net/a", "1"}, {"net/same", "1 2 3"}, {"net/missing", "1"}, {"net/deaf", "7"}})
	if got, _ := os.ReadFile(changed); string(got) != "1\n" {
		t.Errorf("net/a = %q", got)
	}
	var got []string
	for _, f := range failures {
		got = append(got, strings.ReplaceAll(f.String(), root, ""))
	}
	want := []string{"net/missing=1: open /net/missing: no such file or directory", `net/deaf=7: the kernel has ""`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("failures (-want +got):\n%s", d)
	}
}

func TestSettingsAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range append(Mirror(), Interface("wan0.100")...) {
		if seen[s.Name] || s.Value == "" {
			t.Errorf("%s is set twice or to nothing", s.Name)
		}
		seen[s.Name] = true
	}
}
