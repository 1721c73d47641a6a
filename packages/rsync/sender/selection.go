package sender

import (
	"sort"
	"unsafe"

	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// selection is what one client gets of a tree: runs of nodes. A client that
// wants all of a directory has one run, however large it is.
type selection struct {
	tree  *Tree
	views []view
	runs  []run
	count int
	// recurse: what lies below the directories is in the list as well.
	recurse bool

	ioError int32
	notices []notice // for the client, about what could not be listed

	order []uint32 // since sorted: the place in sending order of each wire index
	taken int64    // of the account
}

// memory is what the selection takes, but for its order.
func (s *selection) memory() int64 {
	return int64(cap(s.runs))*int64(unsafe.Sizeof(run{})) + int64(cap(s.views))*int64(unsafe.Sizeof(view{}))
}

// run is a range of nodes that are sent one after the other.
type run struct {
	at    int // place of the first in sending order
	node  uint32
	count uint32
	view  int
}

// notice is a message that a client is to see.
type notice struct {
	tag  wire.Tag
	text string
}

// add appends a node under the view that was added last.
func (s *selection) add(node uint32) {
	v := len(s.views) - 1
	if last := len(s.runs) - 1; last >= 0 {
		if r := &s.runs[last]; r.view == v && r.node+r.count == node {
			r.count++
			s.count++
			return
		}
	}
	s.runs = append(s.runs, run{at: s.count, node: node, count: 1, view: v})
	s.count++
}

// addRange appends a range of nodes under the view that was added last.
func (s *selection) addRange(from, to uint32) {
	s.runs = append(s.runs, run{at: s.count, node: from, count: to - from, view: len(s.views) - 1})
	s.count += int(to - from)
}

// find gives the node at a place in sending order, and its view.
func (s *selection) find(place int) (uint32, view) {
	i := sort.Search(len(s.runs), func(i int) bool { return s.runs[i].at > place }) - 1
	r := &s.runs[i]
	return r.node + uint32(place-r.at), s.views[r.view]
}

// fromWire gives the node that a protocol knows by an index below count.
func (s *selection) fromWire(protocol int, ndx int32, a *Account) (uint32, view, error) {
	if protocol >= 29 && len(s.views) == 1 {
		node, v := s.find(int(ndx))
		return node, v, nil
	}
	if s.order == nil {
		if err := s.sort(protocol, a); err != nil {
			return 0, view{}, err
		}
	}
	node, v := s.find(int(s.order[ndx]))
	return node, v, nil
}

// each calls f for all nodes in sending order.
func (s *selection) each(f func(n *namer, node uint32, v view) error) error {
	return s.eachBy(newNamer(s.tree, view{base: noNode}), f)
}

func (s *selection) eachBy(names *namer, f func(n *namer, node uint32, v view) error) error {
	last := -1
	for _, r := range s.runs {
		if r.view != last {
			names.use(s.views[r.view])
			last = r.view
		}
		for i := r.node; i < r.node+r.count; i++ {
			if err := f(names, i, s.views[r.view]); err != nil {
				return err
			}
		}
	}
	return nil
}

// file describes a node for the encoder.
func (s *selection) file(node uint32, name string, hardLinks bool) flist.File {
	n := &s.tree.nodes[node]
	f := flist.File{
		Name: name, Mode: uint32(n.mode), Size: n.size, ModTime: n.mtime, Nsec: n.nsec,
		HardLink: flist.NoHardLink,
	}
	if hardLinks && n.group != 0 {
		f.HardLink = int64(n.group)
	}
	if n.link != 0 {
		f.Link = string(s.tree.target(node))
	}
	return f
}

// size is the number of bytes in all that is selected.
func (s *selection) size() int64 {
	var sum int64
	for _, r := range s.runs {
		for i := r.node; i < r.node+r.count; i++ {
			if n := &s.tree.nodes[i]; n.isRegular() || n.isLink() {
				sum += n.size
			}
		}
	}
	return sum
}
