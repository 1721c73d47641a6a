package tree

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links one path may lead over.
const maxLinks = 16

var errLeadsOut = errors.New("leads out of the tree")

// Resolve follows the symbolic links on the way to name and at its end, and
// returns a path without any. A link that leads out of the tree, or round in
// circles, is an error.
func (r *Root) Resolve(name string) (string, error) {
	if !Clean(name) {
		return "", &fs.PathError{Op: "resolve", Path: name, Err: fs.ErrInvalid}
	}
	done, rest := ".", name
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if part == ".." && done == "." {
			return "", &fs.PathError{Op: "resolve", Path: path.Join(r.name, name), Err: errLeadsOut}
		}
		here := path.Join(done, part)
		info, err := r.Stat(here)
		if err != nil {
			return "", err
		}
		if !info.IsSymlink() {
			done = here
			continue
		}
		target, err := r.Readlink(here)
		switch links++; {
		case err != nil:
			return "", err
		case links > maxLinks:
			return "", &fs.PathError{Op: "resolve", Path: path.Join(r.name, name), Err: unix.ELOOP}
		case path.IsAbs(target):
			return "", &fs.PathError{Op: "resolve", Path: path.Join(r.name, name), Err: errLeadsOut}
		}
		rest = target + "/" + rest
	}
	return done, nil
}
