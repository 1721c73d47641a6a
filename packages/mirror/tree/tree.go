// Package tree changes and reads a directory tree by paths that came from
// somewhere else.
//
// Promise: no operation on a Root leaves it, whatever the path and whatever
// symbolic links lie in the tree: every directory is opened by the kernel with
// RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS (openat2), every last element is used
// without following it. Changes replace by rename, so a reader sees the old
// entry or the new one. Directories that their owner cannot write are made
// writable where needed; the caller sets their final mode.
//
// Nothing here syncs: durability is a matter of the caller's barriers. A Root
// is for one goroutine at a time.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is an open directory tree.
type Root struct {
	name string
	fd   int
	// The last two directories used stay open: plans are in directory order, and a
	// hard link has its source in another one.
	kept [2]directory
	last int // index of the one used last
}

// directory is an open directory, with no name if there is none.
type directory struct {
	name string
	fd   int
}

// Open opens the tree at name, which must be a directory.
func Open(name string) (*Root, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &Root{name: name, fd: fd}, nil
}

// Close ends the use of the tree.
func (r *Root) Close() error {
	r.forget()
	return unix.Close(r.fd)
}

// Name is the path that the tree was opened by.
func (r *Root) Name() string { return r.name }

// Clean reports whether name is a relative path of raw bytes without empty, "."
// or ".." elements, and short enough for every file system.
func Clean(name string) bool {
	if name == "" || len(name) >= 4096 || strings.IndexByte(name, 0) >= 0 {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || len(part) > 255 {
			return false
		}
	}
	return true
}

func (r *Root) forget() {
	for i := range r.kept {
		r.keep(i, directory{})
	}
}

// keep puts a directory in the place of another, which is closed.
func (r *Root) keep(i int, d directory) {
	if r.kept[i].name != "" {
		unix.Close(r.kept[i].fd)
	}
	r.kept[i], r.last = d, i
}

// dir returns a descriptor of a directory in the tree, "." for its root. It
// belongs to the Root and is good until the next call but one.
func (r *Root) dir(name string) (int, error) {
	if name == "." || name == "" {
		return r.fd, nil
	}
	for i := range r.kept {
		if r.kept[i].name == name {
			r.last = i
			return r.kept[i].fd, nil
		}
	}
	if !Clean(name) {
		return -1, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	fd, err := r.openat(name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	r.keep(1-r.last, directory{name, fd})
	return fd, nil
}

func (r *Root) openat(name string, flags uint64) (int, error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(r.fd, name, how)
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR && err != unix.EAGAIN {
			return -1, &fs.PathError{Op: "open", Path: path.Join(r.name, name), Err: err}
		}
	}
}

// parent splits a path and opens its directory.
func (r *Root) parent(name string) (int, string, error) {
	if !Clean(name) {
		return -1, "", &fs.PathError{Op: "use", Path: name, Err: fs.ErrInvalid}
	}
	d, base := path.Split(name)
	fd, err := r.dir(strings.TrimSuffix(d, "/"))
	return fd, base, err
}

// change runs an operation in the directory of name; when the owner may not
// write there it makes the directory writable and tries again.
func (r *Root) change(op, name string, do func(dir int, base string) error) error {
	fd, base, err := r.parent(name)
	if err != nil {
		return err
	}
	err = do(fd, base)
	if errors.Is(err, unix.EACCES) {
		if r.writable(fd) == nil {
			err = do(fd, base)
		}
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: path.Join(r.name, name), Err: err}
	}
	return nil
}

// writable gives the owner all permissions on an open directory. The descriptor
// is an O_PATH one, which fchmod does not take.
func (r *Root) writable(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), st.Mode&0o7777|0o700)
}

// OpenFile opens a regular file of the tree for reading.
func (r *Root) OpenFile(name string) (*os.File, error) {
	if !Clean(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	fd, err := r.openat(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path.Join(r.name, name))
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: f.Name(), Err: errors.Join(err, errors.New("not a regular file"))}
	}
	return f, nil
}
