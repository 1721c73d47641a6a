package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"micromirror/packages/httpd/tree"
)

// fixture is a small tree with a cache over it.
type fixture struct {
	*testing.T
	root  string
	tree  *tree.Tree
	cache *Cache
}

func newFixture(t *testing.T, limits Limits) *fixture {
	root := t.TempDir()
	f := &fixture{T: t, root: root}
	f.write("pool/a.deb", "a1")
	f.write("pool/b.deb", "b1")
	f.write("dists/stable/Release", "r1")
	f.must(os.Symlink("../dists/stable", filepath.Join(root, "pool", "link")))
	tr, err := tree.Open(root)
	f.must(err)
	t.Cleanup(func() { tr.Close() })
	f.tree = tr
	f.cache, err = New(tr, root, limits)
	f.must(err)
	t.Cleanup(func() { f.cache.Close() })
	return f
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// write publishes a file as syncd does: beside its place, then by rename.
func (f *fixture) write(name, content string) {
	f.Helper()
	path := filepath.Join(f.root, name)
	f.must(os.MkdirAll(filepath.Dir(path), 0o755))
	f.must(os.WriteFile(f.root+".new", []byte(content), 0o644))
	f.must(os.Rename(f.root+".new", path))
}

// get answers from the cache, filling it if need be, and says whether it had to.
func (f *fixture) get(name string) (content string, filled bool) {
	f.Helper()
	f.cache.Sync()
	item := f.cache.Get([]byte(name))
	if item == nil {
		filled = true
		var err error
		item, err = f.cache.Fill(name, Need{Name: name}, func() (*Item, []Need, error) {
			file, err := f.tree.Lookup(name)
			if err != nil {
				return nil, nil, err
			}
			body := make([]byte, file.Size())
			_, err = file.ReadAt(body, 0)
			return &Item{Name: name, File: file, Body: body}, nil, err
		})
		if err != nil {
			return err.Error(), true
		}
	}
	defer item.Release()
	return string(item.Body), filled
}

func (f *fixture) expect(name, content string, filled bool) {
	f.Helper()
	if got, did := f.get(name); got != content || did != filled {
		f.Errorf("%s: got %q (filled: %v), want %q (%v)", name, got, did, content, filled)
	}
}

var roomy = Limits{Items: 100, Bytes: 1 << 20, Dirs: 100}

func TestChangesDropExactlyWhatTheyAlter(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(f *fixture) error
		a, b   string // want after the change, "" if still cached
		link   string
	}{
		{"nothing", func(*fixture) error { return nil }, "", "", ""},
		{"a replaced", func(f *fixture) error { f.write("pool/a.deb", "a2"); return nil }, "a2", "", ""},
		{"another file beside", func(f *fixture) error { f.write("pool/c.deb", "c"); return nil }, "", "", ""},
		{"a written in place", func(f *fixture) error {
			return os.WriteFile(filepath.Join(f.root, "pool/a.deb"), []byte("a3"), 0o644)
		}, "a3", "", ""},
		{"link target replaced", func(f *fixture) error { f.write("dists/stable/Release", "r2"); return nil }, "", "", "r2"},
		{"link turned", func(f *fixture) error {
			f.write("dists/next/Release", "n1")
			f.must(os.Remove(filepath.Join(f.root, "pool/link")))
			return os.Symlink("../dists/next", filepath.Join(f.root, "pool/link"))
		}, "", "", "n1"},
		{"parent of the target swapped", func(f *fixture) error {
			f.write("dists2/stable/Release", "s1")
			f.must(os.Rename(filepath.Join(f.root, "dists"), filepath.Join(f.root, "old")))
			return os.Rename(filepath.Join(f.root, "dists2"), filepath.Join(f.root, "dists"))
		}, "", "", "s1"},
		{"directory swapped", func(f *fixture) error {
			f.write("pool2/a.deb", "a4")
			f.write("pool2/b.deb", "b4")
			f.write("pool2/link/Release", "l4")
			f.must(os.Rename(filepath.Join(f.root, "pool"), filepath.Join(f.root, "old")))
			return os.Rename(filepath.Join(f.root, "pool2"), filepath.Join(f.root, "pool"))
		}, "a4", "b4", "l4"},
		{"touched", func(f *fixture) error {
			return os.Chtimes(filepath.Join(f.root, "pool/a.deb"), time.Time{}, time.Unix(1, 0))
		}, "a1", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, roomy)
			names := []string{"pool/a.deb", "pool/b.deb", "pool/link/Release"}
			cached := []string{"a1", "b1", "r1"}
			for i, name := range names {
				f.expect(name, cached[i], true)
			}
			f.must(test.change(f))
			for i, want := range []string{test.a, test.b, test.link} {
				if want == "" {
					f.expect(names[i], cached[i], false)
				} else {
					f.expect(names[i], want, true)
				}
			}
		})
	}
}

func TestItemInUseOutlivesItsPlace(t *testing.T) {
	f := newFixture(t, roomy)
	f.get("pool/a.deb")
	item := f.cache.Get([]byte("pool/a.deb"))
	f.write("pool/a.deb", "a2")
	f.expect("pool/a.deb", "a2", true)
	buf := make([]byte, 2)
	if _, err := item.File.ReadAt(buf, 0); err != nil || string(buf) != "a1" {
		t.Errorf("read %q, %v from an item in use, want its own version", buf, err)
	}
	item.Release()
}

func TestChangeDuringFillIsNotKept(t *testing.T) {
	f := newFixture(t, roomy)
	item, err := f.cache.Fill("k", Need{Name: "pool/a.deb"}, func() (*Item, []Need, error) {
		file, err := f.tree.Lookup("pool/a.deb")
		f.write("pool/a.deb", "a2")
		return &Item{File: file}, nil, err
	})
	f.must(err)
	item.Release()
	if f.cache.Get([]byte("k")) != nil {
		t.Error("an item was kept although its file changed while it was made")
	}
}

func TestListingDependsOnItsSubdirectories(t *testing.T) {
	f := newFixture(t, roomy)
	fill := func() {
		item, err := f.cache.Fill("dists/", Need{Name: "dists", Whole: true}, func() (*Item, []Need, error) {
			return &Item{Body: []byte("x")}, []Need{{Name: "dists/stable", Whole: true}}, nil
		})
		f.must(err)
		item.Release()
	}
	for _, name := range []string{"dists/stable/new", "dists/new"} {
		fill()
		f.write(name, "x")
		f.cache.Sync()
		if f.cache.Get([]byte("dists/")) != nil {
			t.Errorf("listing kept after %s appeared", name)
		}
	}
}

func TestBounds(t *testing.T) {
	f := newFixture(t, Limits{Items: 10, Bytes: 40, Dirs: 4})
	for i := range 100 {
		name := fmt.Sprintf("d%d/f%d", i%7, i)
		f.write(name, "content")
		if got, _ := f.get(name); got != "content" {
			t.Fatalf("%s: %q", name, got)
		}
		if n := f.cache.Len(); n > 10 || f.cache.bytes > 40 || len(f.cache.dirs) > 5 {
			t.Fatalf("%d items, %d bytes, %d directories", n, f.cache.bytes, len(f.cache.dirs))
		}
	}
	f.cache.mu.Lock()
	f.cache.clear()
	f.cache.mu.Unlock()
	if len(f.cache.dirs)+len(f.cache.wds) != 0 || f.cache.bytes != 0 {
		t.Errorf("%d directories, %d watches, %d bytes after clearing", len(f.cache.dirs), len(f.cache.wds), f.cache.bytes)
	}
}

func TestLostNotificationsDropEverything(t *testing.T) {
	f := newFixture(t, roomy)
	f.get("pool/a.deb")
	f.cache.mu.Lock()
	event := make([]byte, 16)
	event[5] = 0x40 // IN_Q_OVERFLOW is 0x4000
	f.cache.apply(event)
	f.cache.mu.Unlock()
	f.expect("pool/a.deb", "a1", true)
}

func (f *fixture) missing(name string) bool {
	f.Helper()
	f.cache.Sync()
	item := f.cache.Get([]byte(name))
	if item == nil {
		return false
	}
	item.Release()
	return item.Missing
}

func (f *fixture) fillMissing(name string) {
	f.Helper()
	item, err := f.cache.Fill(name, Need{Name: name, Missing: true}, func() (*Item, []Need, error) {
		return &Item{Name: name, Missing: true}, nil, nil
	})
	f.must(err)
	item.Release()
}

func TestMissingNamesAppear(t *testing.T) {
	for name, appear := range map[string]func(f *fixture){
		"pool/new":     func(f *fixture) { f.write("pool/new", "x") },
		"new/a/b":      func(f *fixture) { f.write("new/a/b", "x") },
		"pool/link/in": func(f *fixture) { f.write("dists/stable/in", "x") },
		"later/in": func(f *fixture) {
			f.must(os.Symlink("dists", filepath.Join(f.root, "later")))
		},
	} {
		f := newFixture(t, roomy)
		f.fillMissing(name)
		f.write("pool/other", "x")
		if !f.missing(name) {
			t.Errorf("%s: forgotten because of something else", name)
		}
		appear(f)
		if f.missing(name) {
			t.Errorf("%s: still missing after it has appeared", name)
		}
	}
}

func TestMissingNamesAreFew(t *testing.T) {
	f := newFixture(t, Limits{Items: 10000, Bytes: 1 << 20, Dirs: 100})
	f.get("pool/a.deb")
	for i := range 3 * maxMissing {
		f.fillMissing(fmt.Sprint("none", i))
	}
	if n := f.cache.Len(); n != maxMissing+1 {
		t.Errorf("%d items, want %d", n, maxMissing+1)
	}
	f.expect("pool/a.deb", "a1", false)
	if f.cache.Again("x") || !f.cache.Again("x") {
		t.Error("only the second question is a repetition")
	}
}
