package sender

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// maxSorted is the longest list that is sorted by names, which takes memory.
// Only clients that name several places, or have links followed, need it.
const maxSorted = 2 << 20

// sort finds the order in which the receiver numbers the entries: since
// protocol 29 depth first, before by the bytes of the whole name.
func (s *selection) sort(protocol int, a *Account) error {
	if err := a.Take(4 * int64(s.count)); err != nil {
		return err
	}
	if len(s.views) == 1 {
		s.order = make([]uint32, 0, s.count)
		s.oldOrder()
		return nil
	}
	if protocol >= 29 {
		if done, err := s.sortRuns(a); done || err != nil {
			return err
		}
	}
	if s.count > maxSorted {
		return fmt.Errorf("%d entries from several places: %w", s.count, ErrTooLarge)
	}
	return s.sortAll(protocol, a)
}

// sortAll orders all entries by their names.
func (s *selection) sortAll(protocol int, a *Account) error {
	const each = 100 // an item and its name
	if err := a.Take(each * int64(s.count)); err != nil {
		return err
	}
	defer a.Give(each * int64(s.count))
	type item struct {
		name  string
		place uint32
		dir   bool
	}
	items := make([]item, 0, s.count)
	err := s.each(func(n *namer, node uint32, _ view) error {
		items = append(items, item{n.name(node), uint32(len(items)), s.tree.nodes[node].isDir()})
		return nil
	})
	slices.SortFunc(items, func(a, b item) int {
		c := 0
		if protocol >= 29 {
			c = comparePaths(a.name, a.dir, b.name, b.dir)
		} else {
			c = cmp.Compare(a.name, b.name)
		}
		return cmp.Or(c, cmp.Compare(a.place, b.place))
	})
	s.order = make([]uint32, len(items))
	for i := range items {
		s.order[i] = items[i].place
	}
	return err
}

// piece is a run with the names between which it lies.
type piece struct {
	run
	first, last       string
	firstDir, lastDir bool
}

// sortRuns orders whole runs, which are in order themselves, and tells whether
// that was enough: it is unless the places that a client names lie within each
// other.
func (s *selection) sortRuns(a *Account) (bool, error) {
	const each = 200 // a piece and its names
	if err := a.Take(each * int64(len(s.runs))); err != nil {
		return false, err
	}
	defer a.Give(each * int64(len(s.runs)))
	pieces := make([]piece, len(s.runs))
	names := newNamer(s.tree, view{base: noNode})
	for i, r := range s.runs {
		names.use(s.views[r.view])
		end := r.node + r.count - 1
		pieces[i] = piece{r, names.name(r.node), names.name(end), s.tree.nodes[r.node].isDir(), s.tree.nodes[end].isDir()}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return comparePaths(a.first, a.firstDir, b.first, b.firstDir) })
	for i := range pieces[1:] {
		a, b := &pieces[i], &pieces[i+1]
		if c := comparePaths(a.last, a.lastDir, b.first, b.firstDir); c > 0 || c == 0 && a.at > b.at {
			return false, nil
		}
	}
	s.order = make([]uint32, 0, s.count)
	for _, p := range pieces {
		for i := range int(p.count) {
			s.order = append(s.order, uint32(p.at+i))
		}
	}
	return true, nil
}

// oldOrder appends the places of the base of the only view and all below it,
// ordered by the bytes of their names. There a directory comes where its name
// belongs, and what is in it where its name with a slash belongs; the root of
// the transfer comes where "." belongs.
func (s *selection) oldOrder() {
	v := s.views[0]
	if v.prefix == "" {
		s.oldContent(v.base, true)
		return
	}
	s.appendPlace(v.base)
	if s.tree.nodes[v.base].isDir() {
		s.oldContent(v.base, false)
	}
}

func (s *selection) appendPlace(node uint32) {
	if place, ok := s.place(node); ok {
		s.order = append(s.order, place)
	}
}

// oldKey is what a place in the old order stands for.
type oldKey struct {
	node    uint32
	content bool
	name    []byte
}

func (s *selection) oldContent(dir uint32, root bool) {
	t := s.tree
	var keys []oldKey
	if root {
		keys = append(keys, oldKey{dir, false, []byte(".")})
	}
	for i := dir + 1; i < t.nodes[dir].end; i = t.next(i) {
		if _, ok := s.place(i); !ok {
			continue
		}
		keys = append(keys, oldKey{i, false, t.name(i)})
		if t.nodes[i].isDir() {
			keys = append(keys, oldKey{i, true, t.name(i)})
		}
	}
	slices.SortFunc(keys, func(a, b oldKey) int { return compareSlashed(a.name, a.content, b.name, b.content) })
	for _, k := range keys {
		if k.content {
			s.oldContent(k.node, false)
		} else {
			s.appendPlace(k.node)
		}
	}
}

// compareSlashed compares names, with a slash behind those that are marked.
func compareSlashed(a []byte, slashA bool, b []byte, slashB bool) int {
	n := min(len(a), len(b))
	if c := bytes.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	return cmp.Compare(after(a, slashA, n), after(b, slashB, n))
}

// after is what a name goes on with behind n bytes: one more, a slash, nothing.
func after(name []byte, slash bool, n int) int {
	switch {
	case n < len(name):
		return int(name[n])
	case slash:
		return '/'
	}
	return -1
}

// place gives the place of a node in sending order, if it is selected. It is
// for selections with one view, whose runs are in the order of the tree.
func (s *selection) place(node uint32) (uint32, bool) {
	i, found := slices.BinarySearchFunc(s.runs, node, func(r run, node uint32) int {
		switch {
		case node < r.node:
			return 1
		case node >= r.node+r.count:
			return -1
		}
		return 0
	})
	if !found {
		return 0, false
	}
	r := &s.runs[i]
	return uint32(r.at) + node - r.node, true
}
