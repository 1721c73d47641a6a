package flist

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
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

// Finish puts the list in order, finds duplicates and hard link groups, and
// checks that no file serves as a directory. The builder must not be used again.
func (b *Builder) Finish() (*List, error) {
	l := &b.list
	b.dirs = nil
	order := b.order()
	b.permute(order)
	l.markDuplicates()
	if err := l.markConflicts(); err != nil {
		return nil, err
	}
	b.linkGroups(order)
	return l, nil
}

// order sorts the directories, counts entries into them, sorts each one's
// files, and gives for each place the entry that belongs there.
func (b *Builder) order() []uint32 {
	l := &b.list
	rank := b.rankDirs()
	l.start = make([]uint32, len(l.dirs)+1)
	for i := range l.n {
		e := l.entry(i)
		e.dir = rank[e.dir]
		l.start[e.dir+1]++
	}
	for d := range l.dirs {
		l.start[d+1] += l.start[d]
	}
	next := slices.Clone(l.start)
	order := make([]uint32, l.n)
	for i := range l.n {
		d := l.entry(i).dir
		order[next[d]] = uint32(i)
		next[d]++
	}
	for d := range l.dirs {
		slices.SortFunc(order[l.start[d]:l.start[d+1]], l.compareInDir)
	}
	return order
}

// compareInDir orders two entries that lie in the same directory: the directory
// itself, then its files; equals in the order of arrival.
func (l *List) compareInDir(x, y uint32) int {
	a, b := l.entry(int(x)), l.entry(int(y))
	if a.isDir() || b.isDir() {
		if a.isDir() != b.isDir() {
			if a.isDir() {
				return -1
			}
			return 1
		}
	} else if c := strings.Compare(l.base(a), l.base(b)); c != 0 {
		return c
	}
	return cmp.Compare(x, y)
}

// rankDirs sorts the directories and gives the new number of each.
func (b *Builder) rankDirs() []uint32 {
	l := &b.list
	sorted := make([]uint32, len(l.dirs))
	for i := range sorted {
		sorted[i] = uint32(i)
	}
	slices.SortFunc(sorted, func(x, y uint32) int {
		return compareDirs(l.strings.get(l.dirs[x]), l.strings.get(l.dirs[y]))
	})
	rank := make([]uint32, len(sorted))
	dirs := make([]ref, len(sorted))
	for place, id := range sorted {
		rank[id] = uint32(place)
		dirs[place] = l.dirs[id]
	}
	l.dirs = dirs
	return rank
}

// permute puts the entries in order, in place: it follows each cycle of the
// permutation once and marks the places done.
func (b *Builder) permute(order []uint32) {
	done := make([]uint64, (len(order)+63)/64)
	for start := range order {
		if done[start/64]&(1<<(start%64)) != 0 {
			continue
		}
		first := *b.list.entry(start)
		place := start
		for {
			done[place/64] |= 1 << (place % 64)
			from := int(order[place])
			if from == start {
				break
			}
			*b.list.entry(place) = *b.list.entry(from)
			place = from
		}
		*b.list.entry(place) = first
	}
}

// markDuplicates keeps the first of those entries that have the same name.
func (l *List) markDuplicates() {
	for i := 1; i < l.n; i++ {
		a, b := l.entry(i-1), l.entry(i)
		if a.dir == b.dir && a.isDir() == b.isDir() && l.base(a) == l.base(b) {
			l.drop(i)
		}
	}
}

func (l *List) drop(i int) {
	if l.Active(i) {
		l.entry(i).flags |= flagDuplicate
		l.Duplicates++
	}
}

// markConflicts drops files that have a directory's name, and refuses those
// that have entries below them without being a directory.
func (l *List) markConflicts() error {
	for d := range l.dirs[1:] {
		path := l.strings.get(l.dirs[d+1])
		dir, base := split(path)
		parent, ok := l.findDir(dir)
		if !ok {
			continue
		}
		i, ok := l.findBase(parent, base)
		if !ok {
			continue
		}
		if first := l.start[d+1]; first == l.start[d+2] || !l.entry(int(first)).isDir() {
			return fmt.Errorf("%q is used as a directory but is not one: %w", path, ErrEntry)
		}
		for ; i < int(l.start[parent+1]) && l.base(l.entry(i)) == base; i++ {
			l.drop(i)
		}
	}
	return nil
}

// linkGroups gives each member of a group of two or more the place of the
// group's first.
func (b *Builder) linkGroups(order []uint32) {
	if len(b.groups) == 0 {
		return
	}
	l := &b.list
	place := make([]uint32, len(order))
	for p, i := range order {
		place[i] = uint32(p)
	}
	members := slices.DeleteFunc(b.groups, func(g group) bool { return !l.Active(int(place[g.index])) })
	for i := range members {
		members[i].index = place[members[i].index]
	}
	slices.SortFunc(members, func(x, y group) int {
		return cmp.Or(cmp.Compare(x.id[0], y.id[0]), cmp.Compare(x.id[1], y.id[1]), cmp.Compare(x.index, y.index))
	})
	for from := 0; from < len(members); {
		to := from + 1
		for to < len(members) && members[to].id == members[from].id {
			to++
		}
		for _, m := range members[from:to] {
			if to-from > 1 {
				l.entry(int(m.index)).hard = int32(members[from].index)
			}
		}
		from = to
	}
	b.groups = nil
}
