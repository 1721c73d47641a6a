package tree

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Info is what a plan needs to know of an entry.
type Info struct {
	Mode   uint32 // type and permissions as in struct stat
	Size   int64
	Sec    int64
	Nsec   uint32
	Inode  uint64
	Device uint64
	Links  uint64
	Ctime  int64 // nanoseconds since 1970
}

// IsDir reports whether the entry is a directory.
func (i *Info) IsDir() bool { return i.Mode&unix.S_IFMT == unix.S_IFDIR }

// IsRegular reports whether the entry is a regular file.
func (i *Info) IsRegular() bool { return i.Mode&unix.S_IFMT == unix.S_IFREG }

// IsSymlink reports whether the entry is a symbolic link.
func (i *Info) IsSymlink() bool { return i.Mode&unix.S_IFMT == unix.S_IFLNK }

// Entry is a named Info.
type Entry struct {
	Name string
	Info
}

func infoOf(st *unix.Stat_t) Info {
	return Info{
		Mode: st.Mode, Size: st.Size, Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec), Inode: st.Ino, Device: st.Dev,
		Links: uint64(st.Nlink), Ctime: st.Ctim.Nano(),
	}
}

// Stat describes an entry, "." for the root itself, without following it.
func (r *Root) Stat(name string) (Info, error) {
	var st unix.Stat_t
	if name == "." {
		if err := unix.Fstat(r.fd, &st); err != nil {
			return Info{}, &fs.PathError{Op: "stat", Path: r.name, Err: err}
		}
		return infoOf(&st), nil
	}
	fd, base, err := r.parent(name)
	if err != nil {
		return Info{}, err
	}
	if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: path.Join(r.name, name), Err: err}
	}
	return infoOf(&st), nil
}

// Readlink returns the target of a symbolic link.
func (r *Root) Readlink(name string) (string, error) {
	fd, base, err := r.parent(name)
	if err != nil {
		return "", err
	}
	buf := make([]byte, 4097)
	n, err := unix.Readlinkat(fd, base, buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path.Join(r.name, name), Err: err}
	}
	return string(buf[:n]), nil
}

// List appends the entries of a directory to buf, sorted by the bytes of their
// names. A missing directory, or what is not one, has none.
func (r *Root) List(name string, buf []Entry) ([]Entry, error) {
	fd, err := r.openat(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.EACCES) {
		if d, derr := r.dir(name); derr == nil && r.writable(d) == nil {
			fd, err = r.openat(name, unix.O_RDONLY|unix.O_DIRECTORY)
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return buf, nil
	case err != nil:
		return buf, err
	}
	defer unix.Close(fd)
	names, err := readNames(fd)
	if err != nil {
		return buf, &fs.PathError{Op: "list", Path: path.Join(r.name, name), Err: err}
	}
	for _, n := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, n, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
			continue
		} else if err != nil {
			return buf, &fs.PathError{Op: "stat", Path: path.Join(r.name, name, n), Err: err}
		}
		buf = append(buf, Entry{Name: n, Info: infoOf(&st)})
	}
	return buf, nil
}

func readNames(fd int) ([]string, error) {
	var names []string
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.SortFunc(names, strings.Compare)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
