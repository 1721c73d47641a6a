package sender

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/flist"
)

// openFlags never block on what has taken a file's place, and follow no link.
const openFlags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// openBelow opens a file below a directory for reading. No link is followed
// anywhere on the way, so whatever happens in the tree meanwhile, nothing
// outside it is opened.
func openBelow(root int, path string) (int, error) {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags:   openFlags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openStepwise(root, path)
	}
	return fd, err
}

// openStepwise does the same where the kernel has no openat2 or a filter hides
// it.
func openStepwise(root int, path string) (int, error) {
	at := root
	for {
		name, rest, more := strings.Cut(path, "/")
		if name == ".." {
			return -1, unix.EXDEV
		}
		flags := openFlags
		if more {
			flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
		}
		fd, err := unix.Openat(at, name, flags, 0)
		if at != root {
			unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

// openRegular opens a regular file and gives its size. With public it must be
// readable by everybody, like all that Scan lists.
func openRegular(root int, path string, public bool) (fd int, size int64, err error) {
	fd, err = openBelow(root, path)
	if err != nil {
		return -1, 0, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil {
		switch {
		case st.Mode&flist.ModeType != flist.ModeRegular:
			err = unix.ENOENT
		case public && !released(st.Mode):
			err = unix.EACCES
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	return fd, st.Size, nil
}

// open opens a file of the list for sending, in the version of the list if the
// session cares for that.
func (t *transfer) open(node uint32, path string) (fd int, size int64, err error) {
	fd, size, err = openRegular(int(t.Root.Fd()), path, t.Public)
	n := &t.Tree.nodes[node]
	if t.Older == nil || err == nil && size == n.size && sameTime(fd, n) {
		return fd, size, err
	}
	if err == nil {
		unix.Close(fd)
	}
	older, missing := t.Older(path, n.size, n.mtime, n.nsec)
	switch {
	case missing == nil:
		return older, n.size, nil
	case err == nil:
		err = unix.ENOENT // what the list names has vanished
	}
	return -1, 0, err
}

// sameTime reports whether an open file is as old as the list says.
func sameTime(fd int, n *node) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mtim.Sec == n.mtime && uint32(st.Mtim.Nsec) == n.nsec
}
