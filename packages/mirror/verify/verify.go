// Package verify checks, before anything is published, that an archive's index
// files agree with each other and with the files that they name.
//
// An upstream that changes while it is listed or read hands out a mixture:
// every file arrives whole, and yet the new Release names a Packages file of
// which the old one was sent. Check reads the index files that a run is about to
// publish and compares sizes, and sums where the content has just been fetched:
//
//   - apt: Release and InRelease against the index files in the list, Packages
//     and Sources against the pool;
//   - rpm: repomd.xml against the files that it names, primary against the
//     packages;
//   - pacman: each database against the packages;
//   - apk: each APKINDEX against the packages, by size;
//   - F-Droid: entry.jar against the indexes, the index against the packages.
//
// A named file that upstream does not have at all is a fault only where a client
// would ask for it: in Packages, Sources and primary, and in repomd.xml, but not
// in Release, which also names variants that archives leave out.
//
// The formats come from outside: lengths are bounded, nothing panics, what
// cannot be parsed is a fault. The package opens nothing by itself.
package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"syscall"

	"micromirror/packages/rsync/flist"
)

// ErrInconsistent is wrapped by every fault found.
var ErrInconsistent = errors.New("upstream is inconsistent")

// Input is what is checked.
type Input struct {
	List *flist.List
	// Kind is the project's: names that say little of a file's format are checked
	// only where that format is expected.
	Kind string
	// Fetched tells whether the content of entry i is new.
	Fetched func(i int) bool
	// Open opens the content of entry i, as it will be published.
	Open func(i int) (io.ReadCloser, error)
	// Partial is set when the project's filter leaves files out on purpose: then
	// a named file may be missing.
	Partial bool
	// Wrong is told of content that is not what an index says; it may be nil.
	Wrong func(i int)

	sums []uint64        // of contents, shortened; 0 where not read yet
	only map[string]bool // look at these names alone, nil for all
	// shallow leaves out what index files name that others name: no content is
	// to be looked at.
	shallow bool
}

// Check returns a fault for each of the changed index files that does not fit;
// the key is its entry.
func Check(in Input, changed []int) map[int]error {
	faults := map[int]error{}
	for _, i := range changed {
		if !in.Fetched(i) {
			continue
		}
		if err := in.index(i); err != nil {
			faults[i] = err
		}
	}
	return faults
}

// Guard checks what a run is about to replace, by name, against index files that
// stay as they are: an upstream that replaces a package or a list of packages must
// also bring out an index that knows it.
func Guard(in Input, unchanged []int, content, indexes []string) error {
	in.only = make(map[string]bool, len(content)+len(indexes))
	for _, name := range slices.Concat(content, indexes) {
		in.only[name] = true
	}
	in.shallow = len(content) == 0
	var contradicts contradiction
	var unreadable syscall.Errno
	for _, i := range unchanged {
		// What else is wrong with a file that stays as it is is no news.
		if err := in.index(i); errors.As(err, &contradicts) || errors.As(err, &unreadable) {
			return err
		}
	}
	return nil
}

// contradiction is what an index says of a file that is otherwise.
type contradiction string

func (c contradiction) Error() string { return string(c) }

func contradictionf(format string, args ...any) error {
	return contradiction(fmt.Sprintf(format, args...))
}

// concerns reports whether a name is among those to be looked at, or below one.
func (in *Input) concerns(name string) bool {
	for ; in.only != nil && name != "."; name = path.Dir(name) {
		if in.only[name] {
			return true
		}
	}
	return in.only == nil
}

// looks reports whether an index file that another one names is to be read.
func (in *Input) looks(i int) bool { return !in.shallow && (in.only != nil || in.Fetched(i)) }

// Reads reports whether a file of that name, in an archive of that kind, names
// others in a way that is known here.
func Reads(kind, base string) bool { return reader(kind, base) != nil }

// reader returns what checks such a file; nil means nothing.
func reader(kind, base string) func(*Input, int) error {
	switch {
	case base == "InRelease", base == "Release":
		return (*Input).release
	case base == "repomd.xml":
		return (*Input).repomd
	case kind == "apk" && base == "APKINDEX.tar.gz":
		return (*Input).apkIndex
	case kind == "pacman" && pacmanDB(base):
		return (*Input).database
	case kind == "fdroid" && base == "entry.jar":
		return (*Input).fdroidEntry
	}
	return nil
}

// index checks one index file, if its format is known.
func (in *Input) index(i int) error {
	read := reader(in.Kind, in.List.Base(i))
	if read == nil || in.List.Mode(i)&flist.ModeType != flist.ModeRegular {
		return nil
	}
	if err := read(in, i); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrInconsistent, in.List.Name(i), err)
	}
	return nil
}

// reference is a file as an index names it.
type reference struct {
	name   string // relative to the tree
	size   int64  // -1 when the index does not say
	sha256 string // hex, empty when the index does not say
}

// match compares a reference with the list, and with the content if that is new.
// It returns the entry, or -1 if there is none.
func (in *Input) match(r reference) (int, error) {
	i := in.find(r.name)
	if i < 0 || !in.concerns(r.name) {
		return i, nil
	}
	if in.List.Mode(i)&flist.ModeType != flist.ModeRegular {
		return i, contradictionf("%q is not a file", r.name)
	}
	if r.size >= 0 && in.List.Size(i) != r.size {
		return i, contradictionf("%q has %d bytes instead of %d", r.name, in.List.Size(i), r.size)
	}
	if r.sha256 == "" || !in.Fetched(i) {
		return i, nil
	}
	return i, in.sum(i, r)
}

// maxHops bounds the links that a name leads through.
const maxHops = 40

// find returns the entry that a name means, links followed, or -1. A link that
// leads out of the tree means nothing here.
func (in *Input) find(name string) int {
	if i, ok := in.List.Find(name); ok && in.List.Mode(i)&flist.ModeType != flist.ModeSymlink {
		return i
	}
	todo, cur, hops := strings.Split(name, "/"), ".", 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		if part == ".." && cur == "." {
			return -1
		}
		cur = path.Join(cur, part)
		i, ok := in.List.Find(cur)
		if !ok {
			return -1
		}
		if in.List.Mode(i)&flist.ModeType != flist.ModeSymlink {
			continue
		}
		target := in.List.Link(i)
		if hops++; hops > maxHops || path.IsAbs(target) {
			return -1
		}
		todo = append(strings.Split(target, "/"), todo...)
		cur = path.Dir(cur)
	}
	i, ok := in.List.Find(cur)
	if !ok {
		return -1
	}
	return i
}

// sum compares the content of entry i, which is read once however many indexes
// name it.
func (in *Input) sum(i int, r reference) error {
	if in.sums == nil {
		in.sums = make([]uint64, in.List.Len())
	}
	if in.sums[i] == 0 {
		sum, err := in.read(i)
		if err != nil {
			return fmt.Errorf("%q: %w", r.name, err)
		}
		in.sums[i] = sum
	}
	want, err := hex.DecodeString(r.sha256)
	if err == nil && len(want) == sha256.Size && shorten(want) == in.sums[i] {
		return nil
	}
	if in.Wrong != nil {
		in.Wrong(i)
	}
	return contradictionf("%q has another SHA-256 sum", r.name)
}

func (in *Input) read(i int) (uint64, error) {
	f, err := in.Open(i)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return 0, err
	}
	return shorten(h.Sum(nil)), nil
}

// shorten keeps of a sum what tells contents apart that nobody made alike; zero
// means that there is none.
func shorten(sum []byte) uint64 { return binary.BigEndian.Uint64(sum) | 1 }

// need is match for files that a client will ask for.
func (in *Input) need(r reference) (int, error) {
	i, err := in.match(r)
	if err == nil && i < 0 && !in.Partial && in.concerns(r.name) {
		err = contradictionf("%q is not there", r.name)
	}
	return i, err
}

// within joins a name from an index to its base; one that leads out of the tree
// is a fault.
func within(base, name string) (string, error) {
	full := path.Join(base, name)
	if path.IsAbs(name) || full == ".." || strings.HasPrefix(full, "../") {
		return "", fmt.Errorf("names %.200q, which leads out of the tree", name)
	}
	return full, nil
}
