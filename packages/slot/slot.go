package slot

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/durable"
)

// EntriesDir is the folder of the entries on the ESP.
const EntriesDir = "loader/entries"

// List returns the entries on the ESP mounted at esp, in the loader's order. The
// entries are valid even with an error, which is about the files that are none.
func List(esp string) ([]Entry, error) {
	dir := filepath.Join(esp, EntriesDir)
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list boot entries: %w", err)
	}
	var entries []Entry
	var problems []error
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".conf") || strings.HasPrefix(f.Name(), ".") {
			continue // the loader ignores it, too
		}
		body, err := readStart(filepath.Join(dir, f.Name()))
		if err == nil {
			var e Entry
			if e, err = ParseEntry(f.Name(), body); err == nil {
				entries = append(entries, e)
			}
		}
		problems = append(problems, err)
	}
	slices.SortFunc(entries, compare)
	return entries, errors.Join(problems...)
}

// readStart reads as much of a file as can be an entry, and a byte more: a damaged
// file system may give it a size of gigabytes.
func readStart(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBody+1))
}

// compare is the order in which systemd-boot lists entries of equal sort-key and
// no machine ID: those without tries last, the higher version first, the greater
// file name (without counter) first, more tries left first, fewer done first.
func compare(a, b Entry) int {
	order := cmp.Or(
		rank(a)-rank(b),
		cmp.Compare(b.Generation, a.Generation),
		cmp.Compare(b.Slot, a.Slot),
	)
	if order != 0 || !a.Counted || !b.Counted {
		return order
	}
	return cmp.Or(cmp.Compare(b.TriesLeft, a.TriesLeft), cmp.Compare(a.TriesDone, b.TriesDone))
}

func rank(e Entry) int {
	if e.Bad() {
		return 1
	}
	return 0
}

// Choose returns the entry that systemd-boot boots: the first in its order, even
// if it has no tries left. It returns false if there are none.
func Choose(entries []Entry) (Entry, bool) {
	if len(entries) == 0 {
		return Entry{}, false
	}
	return slices.MinFunc(entries, compare), true
}

// Preferred returns the entry of the highest generation, which is the one under
// the counter rule, whatever is left of its tries.
func Preferred(entries []Entry) (Entry, bool) {
	if len(entries) == 0 {
		return Entry{}, false
	}
	return slices.MaxFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Slot, b.Slot), -compare(a, b))
	}), true
}

// NextGeneration returns the generation of the next installation.
func NextGeneration(entries []Entry) uint64 {
	e, _ := Preferred(entries)
	return e.Generation + 1
}

// Put writes the entry and makes it durable, before it removes other files of
// the same slot. On vfat a new name refers to an empty file until the inode is
// written, which flushing the directory does not do; so nothing else may go
// before the barrier.
func Put(esp string, e Entry) error {
	dir := filepath.Join(esp, EntriesDir)
	if _, err := ParseEntry(e.FileName(), e.Body()); err != nil {
		return fmt.Errorf("write boot entry: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, e.FileName()), e.Body(), 0o755); err != nil {
		return fmt.Errorf("write boot entry: %w", err)
	}
	if err := durable.Barrier(dir); err != nil {
		return fmt.Errorf("write boot entry: %w", err)
	}
	return tidy(esp, e.Slot, e.FileName())
}

// Drop removes a slot's entry, so that the loader cannot choose the slot.
func Drop(esp string, n Name) error { return tidy(esp, n, "") }

// Rearm is called when the node, running the given slot, was found healthy. The
// preferred slot gets a full counter if there is another to fall back to; beside
// entries that cannot be read, which may be of another, it keeps one that it has. A
// fallback loses what it has of a counter. Rearm reports whether the running slot is
// the preferred one, hence armed. Leftovers of interrupted changes are removed.
func Rearm(esp string, running Name) (armed bool, err error) {
	entries, listErr := List(esp)
	preferred, ok := Preferred(entries)
	if !ok {
		return false, fmt.Errorf("re-arm slot %s: no boot entry found: %w", running, cmp.Or(listErr, fs.ErrNotExist))
	}
	armed = preferred.Slot == running
	for _, n := range []Name{running, running.Other()} {
		if err := settle(esp, entries, n, running, listErr != nil); err != nil {
			return armed, fmt.Errorf("re-arm slot %s: %w", running, err)
		}
		if !armed {
			break // the preferred slot failed its tries, or is on trial: not ours to judge
		}
	}
	return armed, durable.Barrier(filepath.Join(esp, EntriesDir))
}

// settle gives a slot's entry the counter that it must have. The entries may be all
// that there are, or some.
func settle(esp string, entries []Entry, n, running Name, some bool) error {
	preferred, _ := Preferred(entries)
	own := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Slot != n })
	e, ok := Preferred(own)
	if !ok {
		return nil
	}
	want := e.WithoutCounter()
	switch {
	case n == preferred.Slot && (!alone(entries, n) || some && e.Counted):
		want = full(esp, e)
	case e.Bad() && n != running:
		return nil // was tried in vain: stays so until it is written again
	}
	if e.FileName() != want.FileName() {
		return Put(esp, want) // not a rename: on FAT it can leave neither name
	}
	return tidy(esp, n, want.FileName())
}

// alone reports whether a slot has no other to fall back to.
func alone(entries []Entry, n Name) bool {
	return !slices.ContainsFunc(entries, func(e Entry) bool { return e.Slot != n && !e.Bad() })
}

// full returns the entry with a full counter, whose next count is not the name of
// a file that is there. The power may fail before that file is removed; the loader
// could then not count, and would start the slot for ever.
func full(esp string, e Entry) Entry {
	if !e.Counted || e.TriesLeft != FullTries {
		e = e.WithTries(FullTries)
	}
	for {
		if _, err := os.Lstat(filepath.Join(esp, EntriesDir, e.Started().FileName())); err != nil {
			return e
		}
		e.TriesDone++
	}
}

// tidy removes the files of a slot's entry but for keep, and temporary files.
func tidy(esp string, n Name, keep string) error {
	dir := filepath.Join(esp, EntriesDir)
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list boot entries: %w", err)
	}
	for _, f := range files {
		name := f.Name()
		if name == keep || !strings.HasPrefix(strings.TrimPrefix(name, "."), n.Dir()) {
			continue
		}
		// All of it: damage may have made a directory of the file.
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, name)), durable.SyncDir(dir)); err != nil {
			return fmt.Errorf("remove boot entry: %w", err)
		}
	}
	return durable.Barrier(dir)
}
