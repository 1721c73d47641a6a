package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"micromirror/packages/dirent"
	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
)

// Bounds of a tree: what the fields of a node can hold, and no path longer than
// rsync can take.
const (
	maxNodes = 1 << 28
	maxText  = math.MaxUint32
	maxPath  = 4095
	maxDepth = 1024
)

// ScanOptions say what Scan leaves out.
type ScanOptions struct {
	Exclude *filter.List // module excludes; nil = none
	// Unreadable keeps entries that not everybody may read. Otherwise they and
	// directories that not everybody may search are left out, as a mirror must
	// do with what its upstream has not released yet.
	Unreadable bool
	// Like is a tree of about the same size, to take as much memory as that needs
	// and not to grow into it.
	Like *Tree
}

// Scan reads a directory tree. What vanishes meanwhile is left out; what cannot
// be read marks the tree as incomplete. Devices, pipes and sockets are left
// out. No link is followed.
func Scan(ctx context.Context, root *os.File, opts ScanOptions) (*Tree, error) {
	s := scanner{ctx: ctx, opts: opts, tree: new(Tree), groups: map[inode]uint32{}}
	if opts.Like != nil {
		s.tree.nodes = make([]node, 0, len(opts.Like.nodes)*21/20)
		s.tree.text = make([]byte, 0, len(opts.Like.text)*21/20)
	}
	f := found{}
	if err := unix.Fstat(int(root.Fd()), &f.stat); err != nil {
		return nil, fmt.Errorf("scan %s: %w", root.Name(), err)
	}
	// A position of its own: scans of one root do not disturb each other.
	fd, err := openDir(int(root.Fd()), ".")
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", root.Name(), err)
	}
	if _, err = s.add(&f, 0); err == nil {
		err = s.dir(fd, 0, 0)
	}
	unix.Close(fd)
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", root.Name(), err)
	}
	return s.tree, nil
}

func openDir(at int, name string) (int, error) {
	for {
		fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

type inode struct{ dev, ino uint64 }

type scanner struct {
	ctx    context.Context
	opts   ScanOptions
	tree   *Tree
	groups map[inode]uint32

	path   []byte // of the directory being read, with a slash at its end unless it is the root
	reader dirent.Reader
	names  []byte // of its entries, each with a zero byte
	order  []span // where they are
}

// span is a part of scanner.names, without the zero byte.
type span struct{ from, to uint32 }

// found is an entry of the directory being read.
type found struct {
	name   []byte // without a zero byte
	stat   unix.Stat_t
	target string
}

func (f *found) isDir() bool { return f.stat.Mode&flist.ModeType == flist.ModeDir }

// dir adds what is in the directory whose node is at.
func (s *scanner) dir(fd int, at uint32, depth int) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	s.list(fd)
	var dirs []found
	for _, o := range s.order {
		var f found
		switch {
		case !s.look(fd, s.names[o.from:o.to+1], &f):
			continue
		case f.isDir():
			f.name = bytes.Clone(f.name) // by then other names have been read
			dirs = append(dirs, f)
			continue
		}
		if _, err := s.add(&f, at); err != nil {
			return err
		}
	}
	s.tree.nodes[at].files = uint32(len(s.tree.nodes)) - at - 1
	slices.SortFunc(dirs, func(a, b found) int { return compareSlashed(a.name, true, b.name, true) })
	for i := range dirs {
		if err := s.subdir(fd, &dirs[i], at, depth); err != nil {
			return err
		}
	}
	s.tree.nodes[at].end = uint32(len(s.tree.nodes))
	return nil
}

// list reads the names of a directory and orders them.
func (s *scanner) list(fd int) {
	s.names, s.order = s.names[:0], s.order[:0]
	err := s.reader.Each(fd, func(name []byte) {
		from := len(s.names)
		s.names = append(s.names, name...)
		s.order = append(s.order, span{uint32(from), uint32(len(s.names) - 1)})
	})
	s.tree.failed = s.tree.failed || err != nil
	slices.SortFunc(s.order, func(a, b span) int {
		return bytes.Compare(s.names[a.from:a.to], s.names[b.from:b.to])
	})
}

func (s *scanner) subdir(parent int, d *found, at uint32, depth int) error {
	fd, err := openDir(parent, string(d.name))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // vanished or replaced since it was listed
	}
	if err == nil {
		defer unix.Close(fd)
	}
	node, addErr := s.add(d, at)
	if addErr != nil {
		return addErr
	}
	if err != nil || depth == maxDepth {
		s.tree.failed = true
		s.tree.nodes[node].end = node + 1
		return nil
	}
	above := len(s.path)
	s.path = append(append(s.path, d.name...), '/')
	err = s.dir(fd, node, depth+1)
	s.path = s.path[:above]
	return err
}

// look takes the status of an entry, whose name ends in a zero byte, and decides
// whether it is offered.
func (s *scanner) look(fd int, name []byte, f *found) bool {
	f.name = name[:len(name)-1]
	if err := dirent.Lstat(fd, name, &f.stat); err != nil {
		s.tree.failed = s.tree.failed || !errors.Is(err, unix.ENOENT)
		return false
	}
	switch f.stat.Mode & flist.ModeType {
	case flist.ModeRegular, flist.ModeDir, flist.ModeSymlink:
	default:
		return false
	}
	if !s.opts.Unreadable && !released(f.stat.Mode) {
		return false
	}
	if len(s.path)+len(f.name) > maxPath || len(f.name) > math.MaxUint8 {
		s.tree.failed = true
		return false
	}
	if s.excluded(f) {
		return false
	}
	if f.stat.Mode&flist.ModeType == flist.ModeSymlink {
		target, err := readlink(fd, string(f.name))
		if err != nil || target == "" {
			s.tree.failed = s.tree.failed || !errors.Is(err, unix.ENOENT)
			return false
		}
		f.target = target
	}
	return true
}

// excluded asks the module's rules.
func (s *scanner) excluded(f *found) bool {
	if s.opts.Exclude.Len() == 0 {
		return false
	}
	s.path = append(s.path, f.name...)
	path := unsafe.String(unsafe.SliceData(s.path), len(s.path)) // a rule keeps nothing of it
	hidden := s.opts.Exclude.Hidden(path, f.isDir())
	s.path = s.path[:len(s.path)-len(f.name)]
	return hidden
}

// released reports whether everybody may read what has this mode.
func released(mode uint32) bool {
	switch mode & flist.ModeType {
	case flist.ModeRegular:
		return mode&0o004 != 0
	case flist.ModeDir:
		return mode&0o005 == 0o005
	}
	return true
}

func readlink(fd int, name string) (string, error) {
	var buf [maxPath + 1]byte
	n, err := unix.Readlinkat(fd, name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// add appends a node.
func (s *scanner) add(f *found, parent uint32) (uint32, error) {
	t := s.tree
	if len(t.nodes) >= maxNodes || len(t.text)+len(f.name)+len(f.target) > maxText {
		return 0, fmt.Errorf("scan: more than %d entries or %d bytes of names", maxNodes, int64(maxText))
	}
	i := uint32(len(t.nodes))
	n := node{
		size: f.stat.Size, mtime: f.stat.Mtim.Sec, nsec: uint32(f.stat.Mtim.Nsec), mode: uint16(f.stat.Mode),
		text: uint32(len(t.text)), parent: parent, name: uint8(len(f.name)), link: uint16(len(f.target)),
	}
	if !f.isDir() && f.stat.Nlink > 1 {
		n.group = s.group(inode{uint64(f.stat.Dev), f.stat.Ino})
	}
	if n.isRegular() {
		t.size += n.size
	}
	t.nodes = append(grown(t.nodes, 1), n)
	t.text = append(append(grown(t.text, len(f.name)+len(f.target)), f.name...), f.target...)
	return i, nil
}

// grown makes room for n more elements. It grows by half, which for large slices
// takes less copying than append's quarter.
func grown[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return append(make([]T, 0, max(cap(s)*3/2, len(s)+n, 1<<10)), s...)
}

func (s *scanner) group(id inode) uint32 {
	g, ok := s.groups[id]
	if !ok {
		s.tree.groups++
		g = s.tree.groups
		s.groups[id] = g
	}
	return g
}
