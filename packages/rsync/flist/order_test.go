package flist

import (
	"bytes"
	"cmp"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// compareNames is rsync's rule since protocol 29, as its sources put it: of two
// names in the same directory a file comes before a directory; directories
// compare as if they ended in a slash; the root comes first of all.
func compareNames(a, b *File) int {
	switch {
	case a.Name == ".":
		return -1
	case b.Name == ".":
		return 1
	}
	as, bs := strings.Split(a.Name, "/"), strings.Split(b.Name, "/")
	for k := range min(len(as), len(bs)) {
		x, y := as[k], bs[k]
		xDir, yDir := k < len(as)-1 || a.IsDir(), k < len(bs)-1 || b.IsDir()
		switch {
		case xDir && !yDir:
			return 1
		case yDir && !xDir:
			return -1
		case xDir:
			x, y = x+"/", y+"/"
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// FuzzBuild builds lists of any names. The order must be rsync's, each name
// must be found, and indexes must translate back and forth.
func FuzzBuild(f *testing.F) {
	f.Add([]byte("d.\x00da\x00fa/b\x00da-b\x00fa.b\x00la/c\x00fa/b\x00da/b/c\x00fa0"))
	f.Add([]byte("fx\x00dx\x00fx/y\x00lx"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := NewBuilder(Limits{Entries: 300, Bytes: 1 << 16})
		for i, part := range bytes.Split(raw, []byte{0}) {
			if len(part) < 2 {
				continue
			}
			mode := map[byte]uint32{'d': ModeDir, 'l': ModeSymlink}[part[0]]
			b.Add(File{Name: string(part[1:]), Mode: cmp.Or(mode, ModeRegular) | 0o644, Size: int64(i), HardLink: int64(i%5) - 1})
		}
		l, err := b.Finish()
		if err != nil {
			return
		}
		checkList(t, l)
	})
}

func checkList(t *testing.T, l *List) {
	t.Helper()
	var last *File
	active := 0
	for i, f := range l.All() {
		active++
		if last != nil && compareNames(last, &f) >= 0 {
			t.Errorf("%q before %q", last.Name, f.Name)
		}
		last = &f
		if j, ok := l.Find(f.Name); !ok || i != j {
			t.Errorf("find %q: %d, %v, want %d", f.Name, j, ok, i)
		}
		if l.FromWire(28, l.Wire(28, i)) != i {
			t.Errorf("index %d does not survive", i)
		}
		if h := int(f.HardLink); h > i || h >= 0 && l.HardLink(h) != h {
			t.Errorf("%q is linked to %d", f.Name, h)
		}
		if name := strings.TrimPrefix(l.Dir(i)+"/"+l.Base(i), "/"); name != f.Name {
			t.Errorf("%q has directory %q and base %q", f.Name, l.Dir(i), l.Base(i))
		}
	}
	if active+l.Duplicates != l.Len() {
		t.Errorf("%d entries, %d of them count, %d are duplicates", l.Len(), active, l.Duplicates)
	}
}

// TestMemory builds a list like that of an archive and weighs it.
func TestMemory(t *testing.T) {
	const n = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b := NewBuilder(Limits{})
	for i := range n {
		name := fmt.Sprintf("pool/main/p/package%d/package-name_%d.%d-1_amd64.deb", i/20, i, i%7)
		if _, err := b.Add(File{Name: name, Mode: 0o100644, Size: int64(i), HardLink: NoHardLink}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / n; each > 100 {
		t.Errorf("%d bytes per entry", each)
	}
	runtime.KeepAlive(l)
}
