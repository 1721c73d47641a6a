package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Mkdir makes a directory that its owner can use. One that is there is no error.
func (r *Root) Mkdir(name string, perm uint32) error {
	return r.change("mkdir", name, func(dir int, base string) error {
		if err := unix.Mkdirat(dir, base, perm|0o700); err != unix.EEXIST {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.ENOTDIR
		}
		return nil
	})
}

// MoveIn replaces name by the entry called base in the open tree from.
func (r *Root) MoveIn(from *Root, source, name string) error {
	src, srcBase, err := from.parent(source)
	if err != nil {
		return err
	}
	return r.change("publish", name, func(dir int, base string) error {
		return unix.Renameat(src, srcBase, dir, base)
	})
}

// MoveOut moves an entry, with all below it, to another tree of the same file
// system.
func (r *Root) MoveOut(name string, to *Root, target string) error {
	dst, dstBase, err := to.parent(target)
	if err != nil {
		return err
	}
	defer r.forget() // a directory kept open may be the one that goes
	return r.change("move away", name, func(dir int, base string) error {
		err := unix.Renameat(dir, base, dst, dstBase)
		if err == unix.EACCES { // a directory that changes parents must be writable itself
			if fd, oerr := unix.Openat(dir, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); oerr == nil {
				werr := r.writable(fd)
				unix.Close(fd)
				if werr == nil {
					err = unix.Renameat(dir, base, dst, dstBase)
				}
			}
		}
		return err
	})
}

// LinkIn makes target in the tree to, which may be this one, a further name of the
// file.
func (r *Root) LinkIn(name string, to *Root, target string) error {
	src, srcBase, err := r.parent(name)
	if err != nil {
		return err
	}
	dst, dstBase, err := to.parent(target)
	if err != nil {
		return err
	}
	if err := unix.Linkat(src, srcBase, dst, dstBase, 0); err != nil {
		return &fs.PathError{Op: "link", Path: name, Err: err}
	}
	return nil
}

// Symlink makes a symbolic link with a modification time.
func (r *Root) Symlink(target, name string, sec int64, nsec uint32) error {
	return r.change("symlink", name, func(dir int, base string) error {
		if err := unix.Symlinkat(target, dir, base); err != nil {
			return err
		}
		return utimes(dir, base, sec, nsec)
	})
}

// Remove deletes a file, link or empty directory. A missing one is no error.
func (r *Root) Remove(name string) error {
	isDir := false
	err := r.change("remove", name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if isDir = err == unix.EISDIR; isDir {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		return err
	})
	if isDir {
		r.forget() // it may be one that is kept open
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// SetTimes sets the modification time of an entry, not following it.
func (r *Root) SetTimes(name string, sec int64, nsec uint32) error {
	if name == "." {
		ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: sec, Nsec: int64(nsec)}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, r.name, ts, 0)
	}
	return r.change("set time", name, func(dir int, base string) error { return utimes(dir, base, sec, nsec) })
}

// SetMode sets the permissions of a regular file or directory.
func (r *Root) SetMode(name string, perm uint32) error {
	if name == "." {
		return unix.Chmod(r.name, perm)
	}
	return r.change("set mode", name, func(dir int, base string) error {
		var st unix.Stat_t
		if err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if t := st.Mode & unix.S_IFMT; t != unix.S_IFREG && t != unix.S_IFDIR {
			return unix.ENOTSUP
		}
		return unix.Fchmodat(dir, base, perm, 0)
	})
}

func utimes(dir int, base string, sec int64, nsec uint32) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: sec, Nsec: int64(nsec)}}
	return unix.UtimesNanoAt(dir, base, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// Discard deletes a directory outside any tree with all below it, also where
// permissions are missing.
func Discard(name string) error {
	if os.RemoveAll(name) == nil {
		return nil
	}
	err := filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(p, 0o700) // before its entries are read
		}
		return nil
	})
	return errors.Join(err, os.RemoveAll(name))
}

// Escapes reports whether a symbolic link at name leads out of the directory
// that lies up levels above the tree's root.
func Escapes(name, target string, up int) bool {
	if target == "" || target[0] == '/' || strings.IndexByte(target, 0) >= 0 {
		return true
	}
	depth := up + strings.Count(name, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// MkdirAll makes a directory with those above it. "." is there already.
func (r *Root) MkdirAll(name string, perm uint32) error {
	if name == "." {
		return nil
	}
	err := r.Mkdir(name, perm)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := r.MkdirAll(path.Dir(name), perm); err != nil {
		return err
	}
	return r.Mkdir(name, perm)
}
