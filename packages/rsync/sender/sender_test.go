package sender

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/delta"
	"micromirror/packages/rsync/filter"
)

func TestScan(t *testing.T) {
	root := usual(t)
	for name, mode := range map[string]os.FileMode{"e": 0o750, "a/x": 0o640} {
		if err := os.Chmod(filepath.Join(root.Name(), name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root.Name(), "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	tree := scanned(t, root, "loop/", "l?")
	want := []string{".", "a.d", "b", "big", "h1", "a-b", "a-b/c", "a", "a/h2", "a/y", "a/y/z"}
	if diff := cmp.Diff(want, tree.Paths()); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if want := int64(1 + 1 + 300_000 + 4 + 4 + 4 + 3); tree.Size() != want {
		t.Errorf("size = %d, want %d", tree.Size(), want)
	}
	if !tree.Complete() {
		t.Error("not complete")
	}
}

func TestResolve(t *testing.T) {
	tree := scanned(t, usual(t))
	for _, tt := range []struct {
		path   string
		follow bool
		want   string
		err    error
	}{
		{"a/y/z", false, "a/y/z", nil}, {"l1", false, "l1", nil}, {"l1", true, "a", nil}, {"l1/y", false, "a/y", nil},
		{"l1/", false, "a", nil}, {"l2", true, "", unix.EXDEV}, {"l3", true, "", unix.EXDEV}, {"l4", true, "", unix.ENOENT},
		{"b/x", false, "", unix.ENOTDIR}, {"..", false, "", unix.EXDEV}, {"loop/self/self/up/b", true, "b", nil}, {"", true, "", nil},
	} {
		got, err := tree.resolve(0, tt.path, tt.follow)
		if tt.path == "l1/" && got != noNode {
			got, err = tree.resolve(0, tt.path, true)
		}
		if !errors.Is(err, tt.err) || err == nil && tree.path(got) != tt.want {
			t.Errorf("resolve(%q, %v) = %v, %v; want %q, %v", tt.path, tt.follow, got, err, tt.want, tt.err)
		}
	}
}

func TestGlob(t *testing.T) {
	tree := scanned(t, usual(t))
	for pattern, want := range map[string][]string{
		"a*": {"a.d", "a-b", "a"}, "a/*": {"a/h2", "a/x", "a/y"}, "*/y/": {"a/y/", "l1/y/", "loop/up/y/"}, "zz*": {"zz*"}, "a/x": {"a/x"},
		"/l1/[xy]": {"l1/x", "l1/y"},
	} {
		got := NewGlobber(tree).Expand(pattern)
		if pattern == "*/y/" {
			got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "loop/") })
			want = want[:2]
			slices.Sort(got)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Expand(%q) (-want +got):\n%s", pattern, diff)
		}
	}
}

func TestChoose(t *testing.T) {
	tree := scanned(t, usual(t), "l2", "l3", "l4", "big")
	rules, err := filter.Parse("+ */", "- *.d", "- /a/x")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		r    Request
		want []string
	}{
		{"all", Request{Args: []string{"loop/"}, Recurse: true}, []string{".", "self", "up"}},
		{"named", Request{Args: []string{"a"}, Recurse: true}, []string{"a", "a/h2", "a/x", "a/y", "a/y/z"}},
		{"below", Request{Args: []string{"a/y"}, Recurse: true}, []string{"y", "y/z"}},
		{"rules", Request{Args: []string{"a/", "a.d"}, Recurse: true, Filter: rules}, []string{".", "h2", "x", "y", "y/z"}},
		{"dirs", Request{Args: []string{"a/"}, Dirs: true}, []string{".", "h2", "x", "y"}},
		{"none", Request{Args: []string{"a"}}, nil},
		{"relative", Request{Args: []string{"a/./y/z", "./a-b/c"}, Relative: true, Dirs: true}, []string{"y", "y/z", ".", "a-b", "a-b/c"}},
		{"link", Request{Args: []string{"l1"}, Recurse: true}, []string{"l1"}},
		{"copied link", Request{Args: []string{"l1"}, Recurse: true, CopyLinks: true}, []string{"l1", "l1/h2", "l1/x", "l1/y", "l1/y/z"}},
		{"loop", Request{Args: []string{"loop/"}, Recurse: true, CopyLinks: true}, []string{".", "self", "up"}},
	} {
		s, err := choose(t.Context(), tree, &tt.r, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, s.names()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Many arguments cannot multiply a tree without end.
func TestChooseBound(t *testing.T) {
	tree := scanned(t, usual(t))
	c := chooser{ctx: t.Context(), Request: &Request{Recurse: true}, selection: &selection{tree: tree, recurse: true}, names: newNamer(tree, view{}), limit: 1000}
	var err error
	for range 1000 {
		if err = c.arg(""); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestUnsafeLink(t *testing.T) {
	for _, tt := range []struct {
		target, name string
		want         bool
	}{
		{"x", "a", false}, {"/x", "a", true}, {"../x", "a", true}, {"../x", "d/a", false}, {"../../x", "d/a", true},
		{"x/../y", "d/a", true}, {"", "a", true}, {"./x", "a", false},
	} {
		if got := unsafeLink(tt.target, tt.name); got != tt.want {
			t.Errorf("unsafeLink(%q, %q) = %v, want %v", tt.target, tt.name, got, tt.want)
		}
	}
}

func TestComparePaths(t *testing.T) {
	type item struct {
		name string
		dir  bool
	}
	sorted := []item{{".", true}, {"a", false}, {"b", false}, {"a-", true}, {"a-/x", false}, {"a", true}, {"a/f", false}, {"a/d", true}, {"a/d/x", false}, {"b", true}}
	for i, a := range sorted {
		for j, b := range sorted {
			got, want := comparePaths(a.name, a.dir, b.name, b.dir), i-j
			if a.name == b.name && a.dir != b.dir {
				continue // cannot both be in a tree
			}
			if got*want < 0 || (got == 0) != (want == 0) {
				t.Errorf("comparePaths(%v, %v) = %d, want the sign of %d", a, b, got, want)
			}
		}
	}
}

// The stepwise way of opening follows no link either.
func TestOpenBelow(t *testing.T) {
	root := usual(t)
	fd := int(root.Fd())
	for _, open := range []func(int, string) (int, error){openBelow, openStepwise} {
		for path, ok := range map[string]bool{"b": true, "a/y/z": true, "l1/x": false, "l1": false, "../x": false, "a/../b": false, "loop/self/up/b": false, "nothing": false} {
			got, err := open(fd, path)
			if err == nil {
				unix.Close(got)
			}
			if path != "a/../b" && (err == nil) != ok { // one resolves "..", the other refuses it
				t.Errorf("open(%q): %v, want success %v", path, err, ok)
			}
		}
	}
}

// Every entry is found by its path, whatever names lie beside it.
func TestResolveAll(t *testing.T) {
	names := []string{"a", "a-", "a.b", "a0", "a b", "b", "ab", "a/a", "a/a-", "a/a!", "a-/x/y/z", "a-/x-", "c", "c/d/e", "c/d-/e", "c/d/e-/f", "\xff", "\xff/\x01"}
	for _, kind := range []string{"/:", "/file:", "/sub/file:"} {
		var entries []string
		for _, n := range names {
			entries = append(entries, n+kind)
		}
		tree := scanned(t, plant(t, entries...))
		for i, path := range tree.Paths() {
			if got, err := tree.resolve(0, path, false); err != nil || got != uint32(i) {
				t.Errorf("resolve(%q) = %d, %v, want %d", path, got, err, i)
			}
			for _, missing := range []string{path + "0", path + "!", path + "/zz"} {
				if got, err := tree.resolve(0, missing, false); err == nil && !slices.Contains(tree.Paths(), missing) {
					t.Errorf("resolve(%q) = %d, want an error", missing, got)
				}
			}
		}
	}
}

// A client whose blocks all have the same hash, but match nothing, gets the file
// as it is before the work is out of proportion.
func TestMatchGivesUp(t *testing.T) {
	file := make([]byte, 1<<20) // the weak sum of zeros is zero
	b := &basis{Head: delta.Head{Count: 1 << 16, BlockLen: 700, SumLen: 16}, sums: checksum.Negotiated("xxh128", 7, false)}
	b.weak, b.strong = make([]uint32, b.Count), make([]byte, 16*b.Count)
	b.index()
	for i := range b.weak {
		b.weak[i] = 1 // found under the hash of zero, and then not the same
	}
	tokens, m := runMatcher(t, b, file, b.sums, false)
	if !m.givenUp() || m.wasted > hopeless*(int64(len(file))+700)+maxChain {
		t.Errorf("looked at %d blocks in vain", m.wasted)
	}
	if got := rebuild(t, nil, tokens, b.Head, false); !bytes.Equal(got, file) {
		t.Errorf("rebuilt %d bytes, want %d zeros", len(got), len(file))
	}
}

// Ordering whole runs, where that is enough, gives what ordering all entries
// gives.
func TestSortRuns(t *testing.T) {
	tree := scanned(t, usual(t))
	rules, err := filter.Parse("- x", "- h*", "+ *", "- c")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		r      Request
		enough bool
	}{
		{Request{Args: []string{"e", "a", "b", "a-b"}, Recurse: true}, true},
		{Request{Args: []string{"loop", "a", "h1", "a.d"}, Recurse: true, Filter: rules}, true},
		{Request{Args: []string{"./a/y", "a-b/c", "a/x"}, Recurse: true, Relative: true}, true},
		{Request{Args: []string{"a/", "loop/"}, Recurse: true}, false},
		{Request{Args: []string{"a", "a"}, Recurse: true}, false},
		{Request{Args: []string{""}, Recurse: true, CopyLinks: true}, false},
	} {
		s, err := choose(t.Context(), tree, &tt.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		account := NewMemory(1 << 20).Account()
		done, err := s.sortRuns(account)
		if done != tt.enough || err != nil || account.used != 0 {
			t.Errorf("%q: %v, %v, want %v; %d bytes are taken", tt.r.Args, done, err, tt.enough, account.used)
		}
		got := s.order
		if err := s.sortAll(32, account); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s.order, got); done && diff != "" {
			t.Errorf("%q (-all +runs):\n%s", tt.r.Args, diff)
		}
	}
}
