package flist

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Errors that a list can be refused with.
var (
	ErrLimit = errors.New("file list exceeds its limits")
	ErrName  = errors.New("unsafe name in file list")
	ErrEntry = errors.New("invalid entry in file list")
)

// maxPath is the longest name or link target, as in rsync.
const maxPath = 4096

// Limits bound a list. Zero means the default.
type Limits struct {
	Entries int   // default 8 million
	Bytes   int64 // of names and link targets together; default 512 MiB
}

// Builder collects entries, in any order, and makes a List of them.
type Builder struct {
	list   List
	limits Limits
	dirs   map[string]uint32
	last   uint32
	groups []group
}

// group is one member of a hard link group.
type group struct {
	id    [2]int64
	index uint32
}

// NewBuilder starts an empty list.
func NewBuilder(limits Limits) *Builder {
	limits.Entries = min(cmp.Or(limits.Entries, 8<<20), 1<<30)
	limits.Bytes = cmp.Or(limits.Bytes, 512<<20)
	b := &Builder{limits: limits, dirs: map[string]uint32{"": 0}}
	b.list.strings.limit = limits.Bytes
	b.list.dirs = []ref{{}}
	return b
}

// Len is the number of entries so far.
func (b *Builder) Len() int { return b.list.n }

// Add appends an entry and gives its place in the order of adding.
func (b *Builder) Add(f File) (int, error) {
	if err := checkName(f.Name); err != nil {
		return 0, err
	}
	return b.add(&f, [2]int64{0, f.HardLink})
}

// add appends an entry whose name is known to be good. A HardLink ≥ 0 makes it
// a member of the group id.
func (b *Builder) add(f *File, id [2]int64) (int, error) {
	switch {
	case !validType(f.Mode):
		return 0, fmt.Errorf("%q: mode %#o: %w", f.Name, f.Mode, ErrEntry)
	case f.Size < 0:
		return 0, fmt.Errorf("%q: size %d: %w", f.Name, f.Size, ErrEntry)
	case f.Name == "." && !f.IsDir():
		return 0, fmt.Errorf("root of the transfer is not a directory: %w", ErrEntry)
	case b.list.n >= b.limits.Entries:
		return 0, fmt.Errorf("more than %d entries: %w", b.limits.Entries, ErrLimit)
	}
	e := entry{size: f.Size, mtime: f.ModTime, nsec: f.Nsec, mode: uint16(f.Mode), hard: NoHardLink}
	if err := b.keepStrings(&e, f); err != nil {
		return 0, err
	}
	n := b.list.n
	if f.HardLink >= 0 && !f.IsDir() {
		b.groups = append(b.groups, group{id, uint32(n)})
	}
	if n>>blockBits == len(b.list.blocks) {
		b.list.blocks = append(b.list.blocks, new(block))
	}
	b.list.n++
	*b.list.entry(n) = e
	return n, nil
}

func (b *Builder) keepStrings(e *entry, f *File) (err error) {
	dir, base := split(f.Name)
	if f.IsDir() {
		dir, base = f.Name, ""
		if dir == "." {
			dir = ""
		}
	}
	if e.dir, err = b.dir(dir); err != nil {
		return err
	}
	if len(base) > 255 {
		return fmt.Errorf("%.200q: %w", f.Name, ErrName)
	}
	r, err := b.list.strings.add(base)
	if err != nil {
		return err
	}
	e.base, e.baseLen = r.off, uint8(r.len)
	extra := ""
	switch {
	case f.IsSymlink():
		extra = f.Link
	case f.IsRegular():
		extra = f.Checksum
	}
	r, err = b.list.strings.add(extra)
	e.extra, e.extraLen = r.off, r.len
	return err
}

// dir gives the number of a directory's path, which gets one along with the
// directories above it.
func (b *Builder) dir(path string) (uint32, error) {
	if path == b.list.strings.get(b.list.dirs[b.last]) {
		return b.last, nil
	}
	id, ok := b.dirs[path]
	for p := path; !ok; _, ok = b.dirs[p] {
		r, err := b.list.strings.add(p)
		if err != nil {
			return 0, err
		}
		n := uint32(len(b.list.dirs))
		if len(p) == len(path) {
			id = n
		}
		b.list.dirs = append(b.list.dirs, r)
		b.dirs[b.list.strings.get(r)] = n
		p, _ = split(p)
	}
	b.last = id
	return id, nil
}

// checkName refuses names that could lead out of the tree or name a thing in
// two ways.
func checkName(name string) error {
	if name == "." {
		return nil
	}
	if name == "" || len(name) >= maxPath || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("%.200q: %w", name, ErrName)
	}
	for rest, more := name, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if part == "" || part == "." || part == ".." || len(part) > 255 {
			return fmt.Errorf("%.200q: %w", name, ErrName)
		}
	}
	return nil
}
