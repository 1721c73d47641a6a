package sender

import (
	"strings"
	"unsafe"

	"micromirror/packages/rsync/flist"
)

// view says under which name a node and all below it are sent.
type view struct {
	base   uint32     // node
	prefix string     // its name in the list; "" is the root of the transfer
	role   flist.Role // of the node itself, if it is a directory
}

// namer makes the names of nodes under a view. Names are cut from large blocks,
// so that a list costs few allocations, or, if it is hasty, made in two buffers
// by turns.
type namer struct {
	tree   *Tree
	view   view
	parent uint32 // whose name dir is
	dir    string // with a slash at its end, or ""
	space  strings.Builder

	hasty bool
	turn  int
	turns [2][]byte
}

// nameBlock is the size of a block of names.
const nameBlock = 32 << 10

func newNamer(t *Tree, v view) *namer {
	return &namer{tree: t, view: v, parent: noNode}
}

// use switches to another view.
func (n *namer) use(v view) {
	n.view, n.parent = v, noNode
}

// name is the name of node i, which is the view's base or below it. It stays
// valid; that of a hasty namer until the one after the next is made.
func (n *namer) name(i uint32) string {
	if i == n.view.base {
		if n.view.prefix == "" {
			return "."
		}
		return n.view.prefix
	}
	if p := n.tree.nodes[i].parent; p != n.parent {
		n.parent = p
		dir := n.tree.appendPath([]byte(n.view.prefix), n.view.base, p)
		if len(dir) > 0 {
			dir = append(dir, '/')
		}
		n.dir = string(dir)
	}
	base := n.tree.name(i)
	if n.hasty {
		n.turn ^= 1
		b := append(append(n.turns[n.turn][:0], n.dir...), base...)
		n.turns[n.turn] = b
		return unsafe.String(unsafe.SliceData(b), len(b))
	}
	if n.space.Len()+len(n.dir)+len(base) > nameBlock || n.space.Cap() == 0 {
		n.space = strings.Builder{}
		n.space.Grow(nameBlock + maxPath)
	}
	from := n.space.Len()
	n.space.WriteString(n.dir)
	n.space.Write(base)
	return n.space.String()[from:]
}

// comparePaths orders names as protocols since 29 do: the root first, then
// depth first, in each directory what is not a directory before what is.
func comparePaths(a string, aDir bool, b string, bDir bool) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	for {
		headA, tailA, moreA := strings.Cut(a, "/")
		headB, tailB, moreB := strings.Cut(b, "/")
		dirA, dirB := moreA || aDir, moreB || bDir
		switch {
		case dirA != dirB:
			if dirB {
				return -1
			}
			return 1
		case headA != headB && dirA:
			return compareSlashed([]byte(headA), true, []byte(headB), true)
		case headA != headB:
			return strings.Compare(headA, headB)
		case !moreA && !moreB:
			return 0
		case !moreA:
			return -1
		case !moreB:
			return 1
		}
		a, b = tailA, tailB
	}
}
