package rescue

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
)

// Look returns the name of the node whose disk of size bytes r is. The error says
// why it is no node's disk, or none that may be written.
func Look(r io.ReaderAt, size int64) (node string, err error) {
	node, _, err = look(r, size)
	return node, err
}

// look returns the table that the disk is to have, as well.
func look(r io.ReaderAt, size int64) (node string, t *disk.Table, err error) {
	if t, err = disk.New(size); err != nil {
		return "", nil, err
	}
	p := t.Part(disk.Identity)
	part := io.NewSectionReader(r, p.Offset(), p.Size())
	set, err := identity.Read(part)
	if errors.Is(err, identity.ErrNone) {
		return "", nil, cmp.Or(readable(part), identity.ErrNone) // the rest of it is of no use to anyone
	}
	if err != nil {
		return "", nil, err
	}
	if node, err = nameIn(set); err != nil {
		return "", nil, err
	}
	old, err := disk.Read(r, size)
	switch {
	case err == nil && !likewise(old, t):
		return "", nil, fmt.Errorf("was the disk of node %s, and is divided in another way now", node)
	case err == nil:
		old.Partitions[disk.ESP-1].GUID = t.Part(disk.ESP).GUID
		return node, old, nil
	case foreign(r):
		return "", nil, fmt.Errorf("was the disk of node %s, and has another system's partitions now", node)
	}
	return node, t, nil
}

// readable tells a disk that fails from one without an identity.
func readable(part io.ReaderAt) error {
	for half := range int64(2) {
		if _, err := part.ReadAt(make([]byte, disk.SectorSize), half*identity.HalfSize); err != nil {
			return fmt.Errorf("cannot be read, it is broken or its cable is: %w", err)
		}
	}
	return nil
}

// nameIn returns the name of the node that an identity is of.
func nameIn(set identity.Set) (string, error) {
	b, ok := set[nodeFile]
	if !ok {
		return "", errors.New("has an identity of no node")
	}
	var n struct{ Name string }
	if err := json.Unmarshal(b, &n); err != nil || n.Name == "" {
		return "", fmt.Errorf("has an identity without a name (%v)", err)
	}
	return n.Name, nil
}

// likewise says whether a table divides the disk as the new one would. /perm may
// end earlier: it grows.
func likewise(old, fresh *disk.Table) bool {
	for _, n := range []int{disk.ESP, disk.RootA, disk.RootB, disk.Identity} {
		if a, b := old.Part(n), fresh.Part(n); a.First != b.First || a.Last != b.Last || !a.Used() {
			return false
		}
	}
	perm := old.Part(disk.Perm)
	return perm.Used() && perm.First == fresh.Part(disk.Perm).First && old.Sectors <= fresh.Sectors
}

// Where the partition table of old has its entries.
const (
	mbrEntries   = 446
	mbrEntrySize = 16
	mbrType      = 4
	mbrGPT       = 0xee
)

// foreign says whether the disk has a partition table of the old kind, which
// speaks of more than that there is a GPT.
func foreign(r io.ReaderAt) bool {
	b := make([]byte, disk.SectorSize)
	if n, _ := r.ReadAt(b, 0); n < len(b) || b[510] != 0x55 || b[511] != 0xaa {
		return false
	}
	for at := mbrEntries; at+mbrEntrySize <= 510; at += mbrEntrySize {
		if typ := b[at+mbrType]; typ != 0 && typ != mbrGPT {
			return true
		}
	}
	return false
}

// Seen is a disk that was looked at.
type Seen struct {
	Name string // for people: kernel name, model, size
	Node string // as Look says
	Err  error
}

// Choose returns the index of the disk to rescue for a node. The error says what was
// seen instead.
func Choose(node string, disks []Seen) (int, error) {
	var own []int
	var all, names []string
	for i, d := range disks {
		what := "is the disk of node " + d.Node
		if d.Err != nil {
			what = d.Err.Error()
		} else if d.Node == node {
			own, names = append(own, i), append(names, d.Name)
		}
		all = append(all, d.Name+": "+what)
	}
	switch {
	case len(own) == 1:
		return own[0], nil
	case len(own) > 1:
		return 0, fmt.Errorf("%d disks are the one of node %s: %s; take out the one that is not to be written", len(own), node, strings.Join(names, ", "))
	case len(all) == 0:
		return 0, fmt.Errorf("this box has no disk: check its cables, or send for a new disk")
	}
	return 0, fmt.Errorf("no disk of node %s here; what there is: %s", node, strings.Join(all, "; "))
}
