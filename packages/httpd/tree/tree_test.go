package tree

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestClean(t *testing.T) {
	for _, test := range []struct {
		path, name string
		dir, ok    bool
	}{
		{"/", ".", true, true}, {"/a", "a", false, true}, {"/a/", "a", true, true}, {"//a///b", "a/b", false, true},
		{"/a/./b/.", "a/b", true, true}, {"/a/../b", "b", false, true}, {"/a/..", ".", true, true}, {"/a/b/..", "a", true, true},
		{"/..", "", false, false}, {"/a/../../b", "", false, false}, {"", "", false, false}, {"a", "", false, false},
		{"/a\x00", "", false, false}, {"/.trace/x", ".trace/x", false, true}, {"/...", "...", false, true}, {"//", ".", true, true},
	} {
		name, dir, ok := Clean(test.path)
		if name != test.name || dir != test.dir || ok != test.ok {
			t.Errorf("Clean(%q) = %q, %v, %v, want %q, %v, %v", test.path, name, dir, ok, test.name, test.dir, test.ok)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("/a/../b//c/./")
	f.Fuzz(func(t *testing.T, p string) {
		name, _, ok := Clean(p)
		if !ok {
			return
		}
		if name != "." && (!filepath.IsLocal(name) || filepath.Clean(name) != name) {
			t.Fatalf("Clean(%q) = %q", p, name)
		}
	})
}

// outside is a tree with ways out of it, and a file outside that must never be
// reached.
func outside(t *testing.T) (*Tree, string) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o644))
	must(os.WriteFile(filepath.Join(root, "a/file"), []byte("file"), 0o644))
	must(os.WriteFile(filepath.Join(root, "a/private"), []byte("private"), 0o640))
	must(os.Mkdir(filepath.Join(root, "a/.~tmp~"), 0o755))
	must(unix.Mkfifo(filepath.Join(root, "a/fifo"), 0o644))
	for name, target := range map[string]string{
		"a/in": "file", "a/up": "../a/file", "a/b/chain": "../up", "a/dir": "b", "abs": filepath.Join(root, "a/file"),
		"out": "../secret", "a/out2": "../../secret", "a/gone": "nowhere", "a/self": "self", "a/via": "b/../../../secret",
		"proc": "/proc/self/root",
	} {
		must(os.Symlink(target, filepath.Join(root, name)))
	}
	tree, err := Open(root)
	must(err)
	t.Cleanup(func() { tree.Close() })
	return tree, root
}

func TestLookup(t *testing.T) {
	tree, _ := outside(t)
	for name, want := range map[string]error{
		"a/file": nil, "a/in": nil, "a/up": nil, "a/b/chain": nil, "a": nil, "a/dir": nil, ".": nil,
		"abs": ErrNotExist, "out": ErrNotExist, "a/out2": ErrNotExist, "a/gone": ErrNotExist, "a/self": ErrNotExist,
		"a/via": ErrNotExist, "proc/etc/passwd": ErrNotExist, "a/file/x": ErrNotExist, strings.Repeat("x", 300): ErrNotExist,
		"a/private": ErrPermission, "a/fifo": ErrPermission,
	} {
		f, err := tree.Lookup(name)
		if !errors.Is(err, want) {
			t.Errorf("Lookup(%q): %v, want %v", name, err, want)
		}
		if err == nil {
			f.Close()
		}
	}
}

func TestOutOfDescriptorsIsBusy(t *testing.T) {
	if got := classify(unix.EMFILE); !errors.Is(got, ErrBusy) {
		t.Errorf("got %v", got)
	}
}

func TestReadDir(t *testing.T) {
	tree, _ := outside(t)
	dir, err := tree.Lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for range 2 { // a directory can be read again
		entries, err := tree.ReadDir(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			kind := "f"
			if e.Dir {
				kind = "d"
			}
			if e.Link {
				kind += "l"
			}
			got = append(got, e.Name+" "+kind)
		}
		slices.Sort(got)
		want := []string{"b d", "dir dl", "file f", "in fl", "private f", "up fl"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestTrace(t *testing.T) {
	tree, _ := outside(t)
	for name, want := range map[string][]Dep{
		"a/file":    {{".", "a"}, {"a", "file"}},
		"a/b/chain": {{".", "a"}, {"a", "b"}, {"a/b", "chain"}, {"a", "up"}, {".", "a"}, {"a", "file"}},
		"a/dir":     {{".", "a"}, {"a", "dir"}, {"a", "b"}},
		".":         nil,
	} {
		got, _, err := tree.Trace(name)
		if err != nil {
			t.Errorf("Trace(%q): %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Trace(%q): -want +got:\n%s", name, diff)
		}
	}
	for _, name := range []string{"out", "abs", "a/self", "a/gone", "proc"} {
		if _, _, err := tree.Trace(name); err == nil {
			t.Errorf("Trace(%q) succeeded", name)
		}
	}
}
