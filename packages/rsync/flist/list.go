package flist

import (
	"cmp"
	"iter"
	"slices"
	"sort"
	"strings"
	"sync"
)

// entry is a File without its strings, 48 bytes.
type entry struct {
	size, mtime int64
	nsec        uint32
	dir         uint32 // of a directory: its own path; else that of its directory
	hard        int32
	base, extra uint32 // where the strings lie: extra is link target or checksum
	extraLen    uint16
	mode        uint16
	baseLen     uint8
	flags       uint8
}

// blockBits is the size of the blocks that hold the entries: growing in blocks
// leaves no copies behind.
const blockBits = 12

type block [1 << blockBits]entry

// Flags of an entry.
const (
	flagDuplicate = 1 << iota // the name occurs elsewhere, this one does not count
	flagHardLink              // hard is meaningful
)

// List is a file list. Indexes run from 0 to Len()-1.
type List struct {
	blocks  []*block
	n       int
	strings arena
	dirs    []ref    // paths of directories, sorted; the first is the root, ""
	start   []uint32 // of each directory: index of its first entry; one more at the end

	old         sync.Once // makes the next two when a protocol before 29 asks
	wire, place []uint32  // what a wire index stands for, and back

	// IOError holds wire.IOErr… bits: if not zero, the sender could not read
	// all, and what is missing from the list need not be gone.
	IOError int32
	// Duplicates counts entries that are not Active.
	Duplicates int
}

// Len is the number of entries, duplicates included.
func (l *List) Len() int { return l.n }

func (l *List) entry(i int) *entry { return &l.blocks[i>>blockBits][i&(1<<blockBits-1)] }

// base and extra are the strings of an entry.
func (l *List) base(e *entry) string { return l.strings.get(ref{e.base, uint16(e.baseLen)}) }

func (l *List) extra(e *entry) string { return l.strings.get(ref{e.extra, e.extraLen}) }

// ofType is the extra string if the entry is of a type, else nothing.
func (l *List) ofType(e *entry, mode uint32) string {
	if uint32(e.mode)&ModeType != mode {
		return ""
	}
	return l.extra(e)
}

// Active tells whether entry i counts: it is not the second of its name.
func (l *List) Active(i int) bool { return l.entry(i).flags&flagDuplicate == 0 }

// Mode is the mode of entry i.
func (l *List) Mode(i int) uint32 { return uint32(l.entry(i).mode) }

// Size is the size of entry i.
func (l *List) Size(i int) int64 { return l.entry(i).size }

// ModTime is the time of entry i.
func (l *List) ModTime(i int) (sec int64, nsec uint32) {
	e := l.entry(i)
	return e.mtime, e.nsec
}

// Link is the target of the symbolic link i.
func (l *List) Link(i int) string { return l.ofType(l.entry(i), ModeSymlink) }

// HardLink is the first entry of i's group, or NoHardLink.
func (l *List) HardLink(i int) int { return int(l.entry(i).hard) }

// Checksum is the checksum of entry i, empty if the list was made without.
func (l *List) Checksum(i int) string { return l.ofType(l.entry(i), ModeRegular) }

// Dir is the path of the directory that holds entry i, "" for the root.
func (l *List) Dir(i int) string {
	dir := l.strings.get(l.dirs[l.entry(i).dir])
	if l.entry(i).isDir() {
		dir, _ = split(dir)
	}
	return dir
}

// Base is the last element of entry i's name.
func (l *List) Base(i int) string {
	e := l.entry(i)
	if !e.isDir() {
		return l.base(e)
	}
	if e.dir == 0 {
		return "."
	}
	_, base := split(l.strings.get(l.dirs[e.dir]))
	return base
}

// Name is the path of entry i.
func (l *List) Name(i int) string {
	e := l.entry(i)
	dir := l.strings.get(l.dirs[e.dir])
	switch {
	case e.isDir() && e.dir == 0:
		return "."
	case e.isDir():
		return dir
	case e.dir == 0:
		return l.base(e)
	}
	return dir + "/" + l.base(e)
}

// At is entry i.
func (l *List) At(i int) File {
	e := l.entry(i)
	return File{
		Name: l.Name(i), Mode: uint32(e.mode), Size: e.size, ModTime: e.mtime, Nsec: e.nsec,
		Link: l.ofType(e, ModeSymlink), HardLink: int64(e.hard), Checksum: l.ofType(e, ModeRegular),
	}
}

// All gives the entries that count, in order.
func (l *List) All() iter.Seq2[int, File] {
	return func(yield func(int, File) bool) {
		for i := range l.n {
			if l.Active(i) && !yield(i, l.At(i)) {
				return
			}
		}
	}
}

// Find gives the index of the entry with a name.
func (l *List) Find(name string) (int, bool) {
	if name == "." {
		name = ""
	}
	if d, ok := l.findDir(name); ok {
		if i := int(l.start[d]); i < int(l.start[d+1]) && l.entry(i).isDir() {
			return i, true
		}
	}
	dir, base := split(name)
	d, ok := l.findDir(dir)
	if !ok || base == "" {
		return 0, false
	}
	i, ok := l.findBase(d, base)
	return i, ok && l.Active(i)
}

// Files gives the range of indexes of the directory's own files: everything in
// it but its subdirectories.
func (l *List) Files(dir string) (from, to int) {
	if dir == "." {
		dir = ""
	}
	d, ok := l.findDir(dir)
	if !ok {
		return 0, 0
	}
	return l.firstFile(d), int(l.start[d+1])
}

// Wire is the index by which a protocol knows entry i.
func (l *List) Wire(protocol, i int) int32 {
	if protocol >= 29 {
		return int32(i)
	}
	l.old.Do(l.oldOrder)
	return int32(l.place[i])
}

// FromWire gives the entry that a protocol knows by a number within 0…Len()-1.
func (l *List) FromWire(protocol int, ndx int32) int {
	if protocol >= 29 {
		return int(ndx)
	}
	l.old.Do(l.oldOrder)
	return int(l.wire[ndx])
}

// oldOrder sorts by the bytes of whole paths, as protocols before 29 do.
func (l *List) oldOrder() {
	l.wire, l.place = make([]uint32, l.n), make([]uint32, l.n)
	for i := range l.wire {
		l.wire[i] = uint32(i)
	}
	slices.SortFunc(l.wire, func(x, y uint32) int {
		a, b := l.entry(int(x)), l.entry(int(y))
		if a.dir == b.dir && !a.isDir() && !b.isDir() {
			return cmp.Compare(x, y)
		}
		return cmp.Or(strings.Compare(l.Name(int(x)), l.Name(int(y))), cmp.Compare(x, y))
	})
	for w, i := range l.wire {
		l.place[i] = uint32(w)
	}
}

func (l *List) findDir(path string) (uint32, bool) {
	i, ok := sort.Find(len(l.dirs), func(i int) int { return compareDirs(path, l.strings.get(l.dirs[i])) })
	return uint32(i), ok
}

// firstFile skips the directory's own entries in front of its files.
func (l *List) firstFile(d uint32) int {
	i := int(l.start[d])
	for i < int(l.start[d+1]) && l.entry(i).isDir() {
		i++
	}
	return i
}

func (l *List) findBase(d uint32, base string) (int, bool) {
	first := l.firstFile(d)
	i, ok := sort.Find(int(l.start[d+1])-first, func(i int) int {
		return cmp.Compare(base, l.base(l.entry(first+i)))
	})
	return first + i, ok
}

func (e *entry) isDir() bool { return uint32(e.mode)&ModeType == ModeDir }

// compareDirs orders paths as if each ended in a slash, the root first.
func compareDirs(a, b string) int {
	if a == "" || b == "" {
		return cmp.Compare(len(a), len(b))
	}
	n := min(len(a), len(b))
	if c := strings.Compare(a[:n], b[:n]); c != 0 || len(a) == len(b) {
		return c
	}
	if len(a) < len(b) {
		return beforeSlash(b[n])
	}
	return -beforeSlash(a[n])
}

// beforeSlash compares the end of a path with a longer one that goes on with c.
func beforeSlash(c byte) int {
	if c < '/' {
		return 1
	}
	return -1
}

// split cuts a path at its last slash.
func split(path string) (dir, base string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}
