package sender

import (
	"cmp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/flist"
)

// noNode is no place in a tree.
const noNode = ^uint32(0)

// Tree is what a module offers: an immutable copy of its directory tree, made
// by Scan and shared by all connections. The nodes lie in the order of a
// depth-first walk: a directory, its other entries by name, then each
// subdirectory with all below it. That is the order in which protocols since 29
// number a list, so a whole subtree is a range of nodes and needs no further
// memory for a connection that asks for it.
type Tree struct {
	nodes  []node
	text   []byte // of each node: its name, and its target if it is a link
	groups uint32 // hard link groups, numbered from 1
	failed bool   // something could not be read: the tree may be incomplete
	size   int64  // bytes of all regular files
}

// node is one entry, 48 bytes. Names of 255 bytes are the longest there are.
type node struct {
	size   int64
	mtime  int64
	nsec   uint32
	text   uint32 // where the name starts in Tree.text
	parent uint32
	end    uint32 // of a directory: the node after all below it
	files  uint32 // of a directory: how many entries are not directories
	group  uint32 // hard link group, 0 = none
	mode   uint16
	link   uint16 // length of a link's target, which follows the name
	name   uint8  // length of the name
}

const nodeSize = 48

func (n *node) isDir() bool     { return uint32(n.mode)&flist.ModeType == flist.ModeDir }
func (n *node) isRegular() bool { return uint32(n.mode)&flist.ModeType == flist.ModeRegular }
func (n *node) isLink() bool    { return uint32(n.mode)&flist.ModeType == flist.ModeSymlink }

// Len is the number of entries, the root included.
func (t *Tree) Len() int { return len(t.nodes) }

// Size is the number of bytes in regular files.
func (t *Tree) Size() int64 { return t.size }

// Memory is about how many bytes the tree takes.
func (t *Tree) Memory() int64 { return int64(cap(t.nodes))*nodeSize + int64(cap(t.text)) }

// Complete reports whether all could be read.
func (t *Tree) Complete() bool { return !t.failed }

func (t *Tree) name(i uint32) []byte {
	n := &t.nodes[i]
	return t.text[n.text : n.text+uint32(n.name)]
}

func (t *Tree) target(i uint32) []byte {
	n := &t.nodes[i]
	from := n.text + uint32(n.name)
	return t.text[from : from+uint32(n.link)]
}

// next is the node after i and all below it.
func (t *Tree) next(i uint32) uint32 {
	if t.nodes[i].isDir() {
		return t.nodes[i].end
	}
	return i + 1
}

// child finds an entry of a directory by name.
func (t *Tree) child(dir uint32, name string) uint32 {
	d := &t.nodes[dir]
	lo, hi := dir+1, dir+1+d.files
	for lo < hi {
		mid := lo + (hi-lo)/2
		switch c := cmp.Compare(string(t.name(mid)), name); {
		case c == 0:
			return mid
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return t.subdir(dir, name)
}

// subdir finds a directory in a directory. They lie in order, with all that is
// in them between: from any of that the way leads up to them.
func (t *Tree) subdir(dir uint32, name string) uint32 {
	d := &t.nodes[dir]
	lo, hi := dir+1+d.files, d.end
	for lo < hi {
		sub := lo + (hi-lo)/2
		for t.nodes[sub].parent != dir {
			sub = t.nodes[sub].parent
		}
		switch c := compareSlashed(t.name(sub), true, []byte(name), true); {
		case c == 0:
			return sub
		case c < 0:
			lo = t.nodes[sub].end
		default:
			hi = sub
		}
	}
	return noNode
}

// appendPath appends the path of node i below base to b, with a slash between
// what b holds and the path. For base itself it appends nothing.
func (t *Tree) appendPath(b []byte, base, i uint32) []byte {
	if i == base {
		return b
	}
	b = t.appendPath(b, base, t.nodes[i].parent)
	if len(b) > 0 {
		b = append(b, '/')
	}
	return append(b, t.name(i)...)
}

// path is the path of a node in the module, "" for the root.
func (t *Tree) path(i uint32) string { return string(t.appendPath(nil, 0, i)) }

// maxHops bounds the links that one path may lead through, as the kernel does.
const maxHops = 40

// resolve finds the node at a path relative to a directory. Links on the way are
// followed within the tree, and the last one if follow is set; an absolute
// target and one that leaves the tree lead nowhere.
func (t *Tree) resolve(dir uint32, path string, follow bool) (uint32, error) {
	hops := maxHops
	return t.walk(dir, path, follow, &hops)
}

func (t *Tree) walk(at uint32, path string, follow bool, hops *int) (uint32, error) {
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, "/")
		rest := strings.Trim(path, "/") != ""
		switch {
		case !t.nodes[at].isDir():
			return noNode, unix.ENOTDIR
		case name == "" || name == ".":
			continue
		case name == "..":
			if at == 0 {
				return noNode, unix.EXDEV
			}
			at = t.nodes[at].parent
			continue
		}
		next := t.child(at, name)
		if next == noNode {
			return noNode, unix.ENOENT
		}
		if t.nodes[next].isLink() && (rest || follow) {
			var err error
			if next, err = t.followLink(next, hops); err != nil {
				return noNode, err
			}
		}
		at = next
	}
	return at, nil
}

// followLink finds what a link stands for.
func (t *Tree) followLink(i uint32, hops *int) (uint32, error) {
	if *hops--; *hops < 0 {
		return noNode, unix.ELOOP
	}
	target := string(t.target(i))
	if strings.HasPrefix(target, "/") {
		return noNode, unix.EXDEV
	}
	return t.walk(t.nodes[i].parent, target, true, hops)
}

// Paths lists all paths in order; for tests and reports.
func (t *Tree) Paths() []string {
	paths := make([]string, 0, len(t.nodes))
	for i := range t.nodes {
		paths = append(paths, cmp.Or(t.path(uint32(i)), "."))
	}
	return slices.Clip(paths)
}
