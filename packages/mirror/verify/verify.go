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
//     packages.
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
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"micromirror/packages/rsync/flist"
)

// ErrInconsistent is wrapped by every fault found.
var ErrInconsistent = errors.New("upstream is inconsistent")

// Input is what is checked.
type Input struct {
	List *flist.List
	// Fetched tells whether the content of entry i is new.
	Fetched func(i int) bool
	// Open opens the content of entry i, as it will be published.
	Open func(i int) (io.ReadCloser, error)
	// Partial is set when the project's filter leaves files out on purpose: then
	// a named file may be missing.
	Partial bool
}

// Check returns a fault for each of the changed index files that does not fit;
// the key is its entry.
func Check(in Input, tops []int) map[int]error {
	faults := map[int]error{}
	for _, i := range tops {
		if !in.Fetched(i) || in.List.Mode(i)&flist.ModeType != flist.ModeRegular {
			continue
		}
		var err error
		switch in.List.Base(i) {
		case "InRelease", "Release":
			err = in.release(i)
		case "repomd.xml":
			err = in.repomd(i)
		}
		if err != nil {
			faults[i] = fmt.Errorf("%w: %q: %w", ErrInconsistent, in.List.Name(i), err)
		}
	}
	return faults
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
	i, ok := in.List.Find(r.name)
	if !ok {
		return -1, nil
	}
	switch in.List.Mode(i) & flist.ModeType {
	case flist.ModeRegular:
	case flist.ModeSymlink:
		return i, nil // the target is an entry of its own
	default:
		return i, fmt.Errorf("%q is not a file", r.name)
	}
	if r.size >= 0 && in.List.Size(i) != r.size {
		return i, fmt.Errorf("%q has %d bytes instead of %d", r.name, in.List.Size(i), r.size)
	}
	if r.sha256 == "" || !in.Fetched(i) {
		return i, nil
	}
	f, err := in.Open(i)
	if err != nil {
		return i, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return i, fmt.Errorf("%q: %w", r.name, err)
	}
	if hex.EncodeToString(h.Sum(nil)) != r.sha256 {
		return i, fmt.Errorf("%q has another SHA-256 sum", r.name)
	}
	return i, nil
}

// need is match for files that a client will ask for.
func (in *Input) need(r reference) (int, error) {
	i, err := in.match(r)
	if err == nil && i < 0 && !in.Partial {
		err = fmt.Errorf("%q is not there", r.name)
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
