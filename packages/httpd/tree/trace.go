package tree

import (
	"errors"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Dep is one directory entry that the meaning of a name depends on: Name in the
// directory Dir, which is a path below the root without symbolic links.
type Dep struct{ Dir, Name string }

// maxLinks is the kernel's own bound on symbolic links in one name.
const maxLinks = 40

// errNotTraced means that a name's dependencies cannot be told; it can still be
// looked up, but the answer must not be kept.
var errNotTraced = errors.New("name cannot be traced")

// Trace returns every directory entry that is read when the kernel resolves
// name, symbolic links followed, and the name without links. As long as none of
// these entries changes, name means the same file. With ErrNotExist come the
// entries up to the one that is missing: until one of them changes, it is.
func (t *Tree) Trace(name string) (deps []Dep, resolved string, err error) {
	todo := strings.Split(name, "/")
	cur := "."
	links := 0
	buf := make([]byte, unix.PathMax)
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if cur == "." {
				return nil, "", errNotTraced
			}
			cur = path.Dir(cur)
			continue
		}
		deps = append(deps, Dep{cur, part})
		next := path.Join(cur, part)
		n, err := t.readlink(next, buf)
		switch {
		case errors.Is(err, unix.EINVAL):
			cur = next
			continue
		case errors.Is(err, unix.ENOENT):
			return deps, "", ErrNotExist
		case err != nil:
			return nil, "", classify(err)
		}
		target := string(buf[:n])
		if links++; links > maxLinks || strings.HasPrefix(target, "/") {
			return nil, "", errNotTraced
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return deps, cur, nil
}

// readlink reads a link, EINVAL for what is none, where an edition or else the
// served tree has something under the name.
func (t *Tree) readlink(name string, buf []byte) (int, error) {
	if out := t.Editions(); !out.Empty() {
		if n, err := out.Readlink(name, buf); !errors.Is(err, unix.ENOENT) {
			return n, err
		}
	}
	return unix.Readlinkat(int(t.root.Fd()), name, buf)
}
