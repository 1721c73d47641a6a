// Package tree opens files below the web root and never outside of it.
//
// Every name is resolved by the kernel with openat2 and RESOLVE_BENEATH, so that
// symbolic links work inside the tree and nothing (absolute links, "..", a race
// with a rename) leads out of it. Only regular files and directories that anyone
// may read are opened: a file without the read bit for others is forbidden even
// where the process could read it, because upstream meant it so.
//
// While an edition is out (package mirror/edition), names that it holds mean its
// files.
//
// Failures are one of the package's errors: ErrNotExist, ErrPermission, ErrBusy
// (out of descriptors or memory: try again later) or, for a broken disk, what
// the kernel said.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/edition"
)

// The errors that a lookup ends with.
var (
	ErrNotExist   = fs.ErrNotExist
	ErrPermission = fs.ErrPermission
	ErrBusy       = errors.New("out of descriptors or memory")
)

// Tree is an open web root.
type Tree struct {
	root     *os.File
	editions atomic.Pointer[edition.Set]
}

// Open opens dir as the web root.
func Open(dir string) (*Tree, error) {
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open web root: %w", err)
	}
	return &Tree{root: root}, nil
}

// Close releases the root.
func (t *Tree) Close() error { return t.root.Close() }

// SetEditions says which editions are out from now on.
func (t *Tree) SetEditions(s *edition.Set) { t.editions.Store(s) }

// Editions are those that SetEditions was given.
func (t *Tree) Editions() *edition.Set { return t.editions.Load() }

// Lookup opens the file or directory that name, as Clean returns it, means.
func (t *Tree) Lookup(name string) (*File, error) {
	f, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if err := f.check(); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

// Exists returns nil if there is something under name, served or not.
func (t *Tree) Exists(name string) error {
	f, err := t.open(name, unix.O_PATH)
	if err != nil {
		return &fs.PathError{Op: "find", Path: name, Err: err}
	}
	return f.Close()
}

// open resolves name beneath the root, editions first.
func (t *Tree) open(name string, flags uint64) (*File, error) {
	if name == edition.Folder || strings.HasPrefix(name, edition.Folder+"/") {
		return nil, ErrNotExist
	}
	out := t.Editions()
	if out.Empty() {
		return t.openServed(name, flags)
	}
	_, resolved, err := t.Trace(name)
	if errors.Is(err, errNotTraced) {
		return t.openServed(name, flags)
	}
	if err != nil {
		return nil, err
	}
	if f := openEdition(out, resolved, flags); f != nil {
		f.Name = name
		return f, nil
	}
	return t.openServed(resolved, flags)
}

// openEdition opens a file of an edition, nil if it holds none. Directories are
// all in the served tree.
func openEdition(out *edition.Set, name string, flags uint64) *File {
	fd, err := out.Open(name, flags)
	if err != nil {
		return nil
	}
	f := &File{Name: name, fd: fd}
	if unix.Fstat(fd, &f.stat) != nil || f.IsDir() {
		f.Close()
		return nil
	}
	return f
}

// openServed resolves name beneath the root. The kernel answers EAGAIN when a rename
// elsewhere might have confused ".."; it asks to be called again.
func (t *Tree) openServed(name string, flags uint64) (*File, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := unix.Openat2(int(t.root.Fd()), name, &how)
	for range 100 {
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
		fd, err = unix.Openat2(int(t.root.Fd()), name, &how)
	}
	if err != nil {
		return nil, classify(err)
	}
	f := &File{Name: name, fd: fd}
	if err := unix.Fstat(fd, &f.stat); err != nil {
		f.Close()
		return nil, classify(err)
	}
	return f, nil
}

// classify reduces what the kernel says to what a client is told.
func classify(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP),
		errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENXIO):
		return ErrNotExist
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return ErrPermission
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return ErrBusy
	}
	return err
}

// File is an open file or directory: one version of it, whatever is published
// under its name meanwhile.
type File struct {
	Name string
	fd   int
	stat unix.Stat_t
}

// check refuses what is not to be served.
func (f *File) check() error {
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if f.stat.Mode&unix.S_IROTH == 0 {
			return ErrPermission
		}
	case unix.S_IFDIR:
		if f.stat.Mode&(unix.S_IROTH|unix.S_IXOTH) != unix.S_IROTH|unix.S_IXOTH {
			return ErrPermission
		}
	default:
		return ErrPermission
	}
	return nil
}

// Close closes the file.
func (f *File) Close() error { return unix.Close(f.fd) }

// FD is the file's descriptor, valid until Close.
func (f *File) FD() int { return f.fd }

// IsDir says whether it is a directory.
func (f *File) IsDir() bool { return f.stat.Mode&unix.S_IFMT == unix.S_IFDIR }

// Size is the file's size in bytes.
func (f *File) Size() int64 { return f.stat.Size }

// ModTime is when the file's content was last changed.
func (f *File) ModTime() time.Time { return time.Unix(f.stat.Mtim.Sec, f.stat.Mtim.Nsec) }

// ReadAt reads without moving an offset, so that many answers may share a file.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("read %q: %w", f.Name, err)
		}
		if m == 0 {
			return n, fmt.Errorf("read %q at %d: %w", f.Name, off+int64(n), errTruncated)
		}
		n += m
	}
	return n, nil
}

// errTruncated means that a file was cut while it was served; nothing that
// publishes properly does that.
var errTruncated = errors.New("file is shorter than it was")
