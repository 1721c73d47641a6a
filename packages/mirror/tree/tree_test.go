package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, dir string) *Root {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// hostile makes a tree with links that lead out of it, and returns the tree and
// a folder outside with a file that nothing may touch.
func hostile(t *testing.T) (root *Root, outside string) {
	t.Helper()
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "precious"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"abs": outside, "up": "../" + filepath.Base(outside), "file": filepath.Join(outside, "precious"), "self": "."} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir), outside
}

func TestNothingLeavesTheTree(t *testing.T) {
	r, outside := hostile(t)
	stage := open(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(stage.Name(), "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"abs/", "up/", "self/", "../", "/", "a/../", "./"} {
		name := dir + "precious"
		for what, err := range map[string]error{
			"Mkdir":    r.Mkdir(dir+"made", 0o755),
			"MoveIn":   r.MoveIn(stage, "new", name),
			"MoveOut":  r.MoveOut(name, stage, "out"),
			"LinkIn":   r.LinkIn(name, stage, "out"),
			"Symlink":  r.Symlink("x", dir+"made", 0, 0),
			"SetTimes": r.SetTimes(name, 1, 0),
			"SetMode":  r.SetMode(name, 0o777),
		} {
			if err == nil {
				t.Errorf("%s of %q succeeded", what, name)
			}
		}
		if _, err := r.Stat(name); err == nil {
			t.Errorf("Stat of %q succeeded", name)
		}
		if f, err := r.OpenFile(name); err == nil {
			f.Close()
			t.Errorf("OpenFile of %q succeeded", name)
		}
		r.Remove(name)
	}
	if f, err := r.OpenFile("file"); err == nil {
		f.Close()
		t.Error("OpenFile followed a link")
	}
	if err := r.SetMode("file", 0o777); err == nil {
		t.Error("SetMode followed a link")
	}
	st, err := os.Stat(filepath.Join(outside, "precious"))
	if err != nil || st.Mode() != 0o600 || st.ModTime().Unix() == 1 {
		t.Errorf("file outside: %v, %v", st, err)
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("outside there is %v", entries)
	}
}

func TestListIsSortedAndForgiving(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a.b", "a", "\xff", "a-b"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, dir)
	got, err := r.List(".", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a", "a-b", "a.b", "b", "\xff"}
	for i, e := range got {
		if e.Name != want[i] || !e.IsRegular() {
			t.Errorf("entry %d = %q, want %q", i, e.Name, want[i])
		}
	}
	for _, name := range []string{"none", "a"} {
		if got, err := r.List(name, nil); err != nil || len(got) != 0 {
			t.Errorf("List(%q) = %v, %v; want nothing", name, got, err)
		}
	}
}

func TestChangesCanBeRepeated(t *testing.T) {
	r := open(t, t.TempDir())
	for range 2 {
		if err := r.Mkdir("d", 0o500); err != nil {
			t.Fatal(err)
		}
		if err := r.Remove("none"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Symlink("t", "l", 7, 8); err != nil {
		t.Fatal(err)
	}
	if err := r.Mkdir("l", 0o755); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("Mkdir over a link: %v", err)
	}
	if st, err := r.Stat("l"); err != nil || st.Sec != 7 || st.Nsec != 8 || !st.IsSymlink() {
		t.Errorf("link: %+v, %v", st, err)
	}
	if target, err := r.Readlink("l"); target != "t" || err != nil {
		t.Errorf("target %q, %v", target, err)
	}
	if _, err := r.Stat("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}
}

func TestEscapes(t *testing.T) {
	tests := []struct {
		name, target string
		up           int
		want         bool
	}{
		{"a", "b", 0, false},
		{"a", "../b", 0, true},
		{"a", "../b", 1, false},
		{"d/a", "../b", 0, false},
		{"d/a", "../../b", 0, true},
		{"d/a", "x/../../b", 0, false},
		{"d/a", "x/../../../b", 0, true},
		{"a", "/etc", 5, true},
		{"a", "", 0, true},
		{"a", "b\x00", 0, true},
		{"a", "./././b", 0, false},
	}
	for _, tt := range tests {
		if got := Escapes(tt.name, tt.target, tt.up); got != tt.want {
			t.Errorf("Escapes(%q, %q, %d) = %v", tt.name, tt.target, tt.up, got)
		}
	}
}

func TestDiscard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.MkdirAll(filepath.Join(dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "a"), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Discard(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("still there")
	}
}

// Both directories of a hard link may be in the tree itself.
func TestLinkWithinTheTree(t *testing.T) {
	dir := t.TempDir()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, sub := range []string{"a/by-hash", "b"} {
		if err := r.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a/by-hash/x"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"b/x", "a/x", "x", "a/by-hash/y"} {
		if err := r.LinkIn("a/by-hash/x", r, target); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	if err := r.LinkIn("x", r, "b/z"); err != nil {
		t.Error(err)
	}
	st, err := r.Stat("b/z")
	if err != nil || st.Size != 1 {
		t.Errorf("b/z: %+v, %v", st, err)
	}
}

// Directories that are kept open are those that the tree has under their names.
func TestKeptDirectories(t *testing.T) {
	r := open(t, t.TempDir())
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(r.Name(), name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"a", "b", "c"} {
		if err := r.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		write(dir + "/file")
	}
	for _, link := range [][2]string{{"a", "b"}, {"b", "a"}, {"a", "c"}, {"c", "b"}, {"b", "c"}, {"a", "a"}} {
		target := link[1] + "/from-" + link[0]
		if err := r.LinkIn(link[0]+"/file", r, target); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(filepath.Join(r.Name(), target)); err != nil || string(got) != link[0]+"/file" {
			t.Errorf("%s holds %q, %v", target, got, err)
		}
	}
	for _, name := range []string{"a/file", "a/from-a", "a/from-b", "a", "b/from-a"} { // uses a, then b
		if err := r.Remove(name); err != nil {
			t.Error(err)
		}
	}
	if err := r.Mkdir("a", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.LinkIn("b/file", r, "a/again"); err != nil {
		t.Errorf("link into a directory that was made anew: %v", err)
	}
}
