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
