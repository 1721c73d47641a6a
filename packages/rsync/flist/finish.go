package flist

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

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
