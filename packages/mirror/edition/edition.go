// Package edition lets the index files of a repository become valid all at once.
//
// The files of an archive's index name each other: between the rename of one and
// of the next a client would see a mixture. So a publish that replaces several
// of them first lays them all out as an edition, a small tree beside the served
// one, and brings it out with a single rename. From that instant on the servers
// take what the edition holds from there, before what lies in the served tree;
// the publish then renames file after file in the served tree, unseen, and
// withdraws the edition, which changes nothing any more. Editions hold further
// names (hard links) of the very files that are published, so they cost no space
// and no copying.
//
// What an edition replaces is kept for a while under its old names, for clients
// of rsync whose list is older than it (Older).
//
// Folder: <web root>/.edition, written by syncd alone, read by httpd and rsyncd.
// The name of an entry is the project's path, escaped, and what follows it:
//
//	debian~       is being laid out
//	debian        is out: new/… is served, old/… holds what it replaces
//	debian@12     withdrawn: old/… for clients with a list from before
//
// Promise: an edition is out or it is not, also after a power cut (the file
// system's journal keeps the order of renames), and is laid out completely before
// it is out. Reading it fails towards the served tree: a reader that comes late
// finds the same files there. No ports.
package edition

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/tree"
)

// Folder is the name of the folder in the web root. No project's path begins
// with a dot.
const Folder = ".edition"

const (
	newDir   = "new"
	oldDir   = "old"
	draft    = "~"
	retained = "@"
)

// keep is how many withdrawn editions are kept of each project.
const keep = 8

// Press brings out the editions of one project.
type Press struct {
	// Dir is the folder of editions.
	Dir string
	// Path is the project's path below the web root.
	Path string
}

func (p Press) file(suffix string) string {
	return filepath.Join(p.Dir, url.PathEscape(p.Path)+suffix)
}

// Out reports whether an edition is out.
func (p Press) Out() bool {
	_, err := os.Lstat(p.file(""))
	return err == nil
}

// Draft is an edition that is being laid out: what is to be New, and the Old that
// it replaces.
type Draft struct{ New, Old *tree.Root }

// Draft begins a new edition.
func (p Press) Draft() (*Draft, error) {
	if err := tree.Discard(p.file(draft)); err != nil {
		return nil, fmt.Errorf("lay out edition: %w", err)
	}
	d := new(Draft)
	for sub, root := range map[string]**tree.Root{newDir: &d.New, oldDir: &d.Old} {
		dir := filepath.Join(p.file(draft), sub)
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			*root, err = tree.Open(dir)
		}
		if err != nil {
			d.Close()
			return nil, fmt.Errorf("lay out edition: %w", err)
		}
	}
	return d, nil
}

// Close ends the work on a draft.
func (d *Draft) Close() {
	for _, r := range []*tree.Root{d.New, d.Old} {
		if r != nil {
			r.Close()
		}
	}
}

// BringOut makes the draft the edition that is served: the one step.
func (p Press) BringOut() error {
	if err := os.Rename(p.file(draft), p.file("")); err != nil {
		return fmt.Errorf("bring out edition: %w", err)
	}
	return nil
}

// Withdraw ends an edition whose files are all in the served tree, and keeps what
// it replaced. Without one it does nothing.
func (p Press) Withdraw() error {
	past, err := p.withdrawn()
	if err != nil {
		return fmt.Errorf("withdraw edition: %w", err)
	}
	next := uint64(1)
	if n := len(past); n > 0 {
		next = past[n-1] + 1
	}
	err = os.Rename(p.file(""), p.serial(next))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("withdraw edition: %w", err)
	}
	err = tree.Discard(filepath.Join(p.serial(next), newDir))
	for len(past) >= keep {
		err = errors.Join(err, tree.Discard(p.serial(past[0])))
		past = past[1:]
	}
	return err
}

func (p Press) serial(n uint64) string { return p.file(retained + strconv.FormatUint(n, 10)) }

// withdrawn lists the serials of past editions, oldest first.
func (p Press) withdrawn() ([]uint64, error) {
	entries, err := os.ReadDir(p.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		if path, serial, ok := parse(e.Name()); ok && path == p.Path && serial > 0 {
			out = append(out, serial)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Abandon removes an edition that is out or being laid out although no publish is
// under way.
func (p Press) Abandon() error {
	return errors.Join(tree.Discard(p.file("")), tree.Discard(p.file(draft)))
}

// Forget removes all editions of projects that hosted does not know.
func Forget(dir string, hosted func(path string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if path, _, ok := parse(strings.TrimSuffix(e.Name(), draft)); !ok || !hosted(path) {
			err = errors.Join(err, tree.Discard(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// parse reads the name of an edition that is out (serial 0) or withdrawn.
func parse(name string) (path string, serial uint64, ok bool) {
	escaped, number, past := strings.Cut(name, retained)
	if past {
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil || n == 0 {
			return "", 0, false
		}
		serial = n
	}
	path, err := url.PathUnescape(escaped)
	if err != nil || !tree.Clean(path) || url.PathEscape(path) != escaped || strings.HasSuffix(name, draft) {
		return "", 0, false
	}
	return path, serial, true
}

// relative is the part of name below prefix, "." for prefix itself.
func relative(prefix, name string) (string, bool) {
	if name == prefix {
		return ".", true
	}
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || rest[0] != '/' {
		return "", false
	}
	return rest[1:], true
}

// open opens what is below a directory, following no link.
func open(dir *os.File, name string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	for range 100 {
		fd, err := unix.Openat2(int(dir.Fd()), name, &how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

// byAge orders entries of the folder: what is out first, then the newest.
func byAge(a, b named) int { return cmp.Compare(b.age(), a.age()) }

type named struct {
	name   string
	path   string
	serial uint64
}

func (n named) age() uint64 {
	if n.serial == 0 {
		return ^uint64(0)
	}
	return n.serial
}

// read lists the editions in dir, drafts left out. A missing folder has none.
func read(dir string) []named {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []named
	for _, e := range entries {
		if path, serial, ok := parse(e.Name()); ok {
			out = append(out, named{e.Name(), path, serial})
		}
	}
	return out
}
