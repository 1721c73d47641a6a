package edition

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Set is the editions that were out at one moment. It is immutable; its
// descriptors are closed by the garbage collector. The nil Set is empty.
type Set struct{ editions []published }

type published struct {
	prefix string // the project's path
	dir    *os.File
}

// Load reads what is out in the folder dir.
func Load(dir string) *Set {
	s := new(Set)
	for _, e := range read(dir) {
		if e.serial != 0 {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, e.name, newDir), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err == nil { // else it was withdrawn just now
			s.editions = append(s.editions, published{e.path, f})
		}
	}
	return s
}

// Empty reports whether nothing is out, the usual case.
func (s *Set) Empty() bool { return s == nil || len(s.editions) == 0 }

// Prefixes are the paths of the projects with an edition out.
func (s *Set) Prefixes() []string {
	if s == nil {
		return nil
	}
	out := make([]string, len(s.editions))
	for i, e := range s.editions {
		out[i] = e.prefix
	}
	return out
}

// Covers reports whether an edition may hold names at or below name.
func (s *Set) Covers(name string) bool {
	for _, prefix := range s.Prefixes() {
		if _, ok := relative(prefix, name); ok {
			return true
		}
	}
	return false
}

// find returns the edition that covers name.
func (s *Set) find(name string) (*os.File, string) {
	for _, e := range s.editions {
		if rel, ok := relative(e.prefix, name); ok {
			return e.dir, rel
		}
	}
	return nil, ""
}

// Open opens a file or directory of an edition; name is relative to the web root
// and holds no link but perhaps as its last element, which is not followed.
func (s *Set) Open(name string, flags uint64) (int, error) {
	if s == nil {
		return -1, unix.ENOENT
	}
	dir, rel := s.find(name)
	if dir == nil {
		return -1, unix.ENOENT
	}
	return open(dir, rel, flags|unix.O_NOFOLLOW)
}

// Readlink reads a symbolic link of an edition. EINVAL means that there is
// something else under the name, ENOENT that the served tree has the say.
func (s *Set) Readlink(name string, buf []byte) (int, error) {
	fd, err := s.Open(name, unix.O_PATH)
	if err != nil {
		return 0, unix.ENOENT
	}
	defer unix.Close(fd)
	n, err := unix.Readlinkat(fd, "", buf)
	if err == unix.ENOENT { // how the kernel says that it is no link
		err = unix.EINVAL
	}
	return n, err
}
