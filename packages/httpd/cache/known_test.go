package cache

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/httpd/tree"
)

// few files are worth knowing here.
const few = 100

// large fills a directory with enough files to be worth knowing.
func (f *fixture) large(dir string) {
	f.Helper()
	f.cache.worthKnowing = few
	f.must(os.MkdirAll(filepath.Join(f.root, dir), 0o755))
	for i := range few {
		f.must(os.WriteFile(filepath.Join(f.root, dir, fmt.Sprintf("%04d", i)), []byte("x"), 0o644))
	}
}

// list answers with a directory's entries, from the cache or with what is known,
// and says how many were known; -1 if the listing was in the cache.
func (f *fixture) list(dir string) (entries []tree.Entry, known int) {
	f.Helper()
	f.cache.Sync()
	if item := f.cache.Get([]byte(dir + "/")); item != nil {
		item.Release()
		return nil, -1
	}
	item, err := f.cache.Fill(dir+"/", Need{Name: dir, Whole: true}, func() (*Item, []Need, error) {
		file, err := f.tree.Lookup(dir)
		if err != nil {
			return nil, nil, err
		}
		defer file.Close()
		k := f.cache.Known(dir)
		if known = 0; k != nil {
			known = k.Len()
		}
		entries, err = f.tree.ReadDir(file, k)
		return &Item{Name: dir, Entries: entries}, nil, err
	})
	f.must(err)
	if item.Entries != nil {
		f.Error("the listing's entries stay with it")
	}
	item.Release()
	return entries, known
}

// truth is what a directory's entries are.
func (f *fixture) truth(dir string) []tree.Entry {
	f.Helper()
	file, err := f.tree.Lookup(dir)
	f.must(err)
	defer file.Close()
	entries, err := f.tree.ReadDir(file, nil)
	f.must(err)
	return entries
}

// shown is entries in order, as a listing shows them.
func shown(entries []tree.Entry) []tree.Entry {
	entries = slices.SortedFunc(slices.Values(entries), func(a, b tree.Entry) int { return strings.Compare(a.Name, b.Name) })
	for i := range entries {
		entries[i].Sole = false
	}
	return entries
}

func TestOneChangeLeavesTheOthersKnown(t *testing.T) {
	f := newFixture(t, roomy)
	f.large("many")
	for step, want := range []int{0, few - 1, few - 2, few - 2} {
		if _, known := f.list("many"); known != want {
			t.Errorf("listing %d: %d entries were known, want %d", step, known, want)
		}
		if _, known := f.list("many"); known != -1 {
			t.Errorf("listing %d was not kept", step)
		}
		f.write(fmt.Sprintf("many/%04d", min(step, 1)), "new")
	}
	// The same directory elsewhere, and another one in its place.
	f.must(os.Rename(filepath.Join(f.root, "many"), filepath.Join(f.root, "moved")))
	f.large("many")
	if entries, known := f.list("many"); known != 0 || len(entries) != few {
		t.Errorf("of another directory of that name, %d entries were known, and it has %d", known, len(entries))
	}
}

// An ancestor that is another now makes a name mean another directory.
func TestKnownGoesWithItsAncestors(t *testing.T) {
	f := newFixture(t, roomy)
	f.large("up/many")
	f.list("up/many")
	f.must(os.Rename(filepath.Join(f.root, "up"), filepath.Join(f.root, "off")))
	f.large("up/many")
	if _, known := f.list("up/many"); known != 0 {
		t.Errorf("%d entries of another directory were taken for known", known)
	}
	for i := range maxKnown + 1 {
		dir := fmt.Sprint("other", i)
		f.large(dir)
		f.list(dir)
	}
	if len(f.cache.known) != maxKnown {
		t.Errorf("%d directories are known, want %d", len(f.cache.known), maxKnown)
	}
	f.cache.clear()
	if len(f.cache.known) != 0 || len(f.cache.dirs) != 0 {
		t.Errorf("of nothing, %d directories are known and %d watched", len(f.cache.known), len(f.cache.dirs))
	}
}

// Whatever is done to a directory, a listing with what is known is the truth.
func TestKnownIsTrue(t *testing.T) {
	f := newFixture(t, roomy)
	f.large("many")
	for i := range 9 { // names of files that have others
		f.must(os.Link(filepath.Join(f.root, fmt.Sprintf("many/%04d", i)), filepath.Join(f.root, "pool", fmt.Sprint(i))))
		f.must(os.Link(filepath.Join(f.root, fmt.Sprintf("many/%04d", i)), filepath.Join(f.root, fmt.Sprintf("many/%04d-too", i))))
	}
	r := rand.New(rand.NewPCG(1, 2))
	at := func() string { return filepath.Join(f.root, "many", fmt.Sprintf("%04d", r.IntN(few+50))) }
	// Some of them fail, because of what was done before.
	changes := []func(){
		func() { _ = os.Remove(at()) },
		func() { _ = os.Rename(at(), at()) },
		func() { _ = os.Rename(at(), filepath.Join(f.root, "pool", fmt.Sprint(r.IntN(9)))) },
		func() { _ = os.WriteFile(at(), make([]byte, r.IntN(99)), 0o644) },
		func() { _ = os.Truncate(at(), int64(r.IntN(999))) },
		func() { _ = os.Chtimes(at(), time.Time{}, time.Unix(r.Int64N(1e9), 0)) },
		func() { _ = os.Truncate(filepath.Join(f.root, "pool", fmt.Sprint(r.IntN(9))), int64(r.IntN(999))) },
		func() { _ = os.Symlink(fmt.Sprintf("%04d", r.IntN(few)), at()) },
		func() { _ = os.Mkdir(at(), 0o755) },
		func() {
			_ = os.WriteFile(f.root+".new", []byte("published"), 0o644)
			_ = os.Rename(f.root+".new", at())
		},
	}
	used := 0
	for range 300 {
		for range r.IntN(4) {
			changes[r.IntN(len(changes))]()
		}
		got, known := f.list("many")
		if known < 0 {
			continue
		}
		used += known
		if got, want := shown(got), shown(f.truth("many")); !slices.Equal(got, want) {
			t.Fatalf("-truth +known:\n%s", cmp.Diff(want, got))
		}
	}
	if used < 10*few {
		t.Errorf("only %d entries were known", used)
	}
}
