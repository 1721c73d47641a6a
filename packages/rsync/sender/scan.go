package sender

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"

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
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err != nil {
		return nil, fmt.Errorf("scan %s: %w", root.Name(), err)
	}
	dir, err := reopen(root)
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", root.Name(), err)
	}
	if _, err := s.add(&found{stat: st}, 0); err != nil {
		return nil, err
	}
	if err := s.dir(dir, 0, "", 0); err != nil {
		return nil, fmt.Errorf("scan %s: %w", root.Name(), err)
	}
	return s.tree, nil
}

// reopen gives the directory a position of its own, so that scans of one root
// do not disturb each other.
func reopen(root *os.File) (*os.File, error) {
	return openDir(int(root.Fd()), ".")
}

func openDir(at int, name string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

type inode struct{ dev, ino uint64 }

type scanner struct {
	ctx    context.Context
	opts   ScanOptions
	tree   *Tree
	groups map[inode]uint32
}

// found is an entry of the directory being read.
type found struct {
	name   string
	stat   unix.Stat_t
	target string
}

func (f *found) isDir() bool { return f.stat.Mode&flist.ModeType == flist.ModeDir }

// dir adds what is in the directory whose node is at, and closes it.
func (s *scanner) dir(dir *os.File, at uint32, path string, depth int) error {
	defer dir.Close()
	if err := s.ctx.Err(); err != nil {
		return context.Cause(s.ctx)
	}
	names, err := dir.Readdirnames(-1)
	s.tree.failed = s.tree.failed || err != nil
	slices.Sort(names)
	var dirs []found
	for _, name := range names {
		f, ok := s.look(int(dir.Fd()), path, name)
		switch {
		case !ok:
			continue
		case f.isDir():
			dirs = append(dirs, f)
			continue
		}
		if _, err := s.add(&f, at); err != nil {
			return err
		}
	}
	s.tree.nodes[at].files = uint32(len(s.tree.nodes)) - at - 1
	slices.SortFunc(dirs, func(a, b found) int { return compareDirs(a.name, b.name) })
	for i := range dirs {
		if err := s.subdir(dir, &dirs[i], at, path, depth); err != nil {
			return err
		}
	}
	s.tree.nodes[at].end = uint32(len(s.tree.nodes))
	return nil
}

func (s *scanner) subdir(parent *os.File, d *found, at uint32, path string, depth int) error {
	dir, err := openDir(int(parent.Fd()), d.name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // vanished or replaced since it was listed
	}
	node, addErr := s.add(d, at)
	if addErr != nil {
		return addErr
	}
	if err != nil || depth == maxDepth {
		s.tree.failed = true
		s.tree.nodes[node].end = node + 1
		if err == nil {
			dir.Close()
		}
		return nil
	}
	return s.dir(dir, node, join(path, d.name), depth+1)
}

// look takes the status of an entry and decides whether it is offered.
func (s *scanner) look(fd int, path, name string) (found, bool) {
	f := found{name: name}
	if err := unix.Fstatat(fd, name, &f.stat, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		s.tree.failed = s.tree.failed || !errors.Is(err, unix.ENOENT)
		return f, false
	}
	switch f.stat.Mode & flist.ModeType {
	case flist.ModeRegular, flist.ModeDir, flist.ModeSymlink:
	default:
		return f, false
	}
	if !s.opts.Unreadable && !released(f.stat.Mode) {
		return f, false
	}
	if len(path)+1+len(name) > maxPath || len(name) > math.MaxUint8 {
		s.tree.failed = true
		return f, false
	}
	if s.opts.Exclude.Len() > 0 && s.opts.Exclude.Hidden(join(path, name), f.isDir()) {
		return f, false
	}
	if f.stat.Mode&flist.ModeType == flist.ModeSymlink {
		target, err := readlink(fd, name)
		if err != nil || target == "" {
			s.tree.failed = s.tree.failed || !errors.Is(err, unix.ENOENT)
			return f, false
		}
		f.target = target
	}
	return f, true
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
	t.nodes = append(t.nodes, n)
	t.text = append(append(t.text, f.name...), f.target...)
	return i, nil
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

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
