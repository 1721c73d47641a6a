// Package disk describes how a node's disk is divided, and keeps that table
// intact.
//
// A disk has a GPT with five partitions: the EFI system partition (1), root
// file systems of slot a and b (2, 3), /perm (4, ext4, the rest of the disk) and
// identity (5, raw, placed before 4 so that 4 can grow). Sizes cannot be changed
// in the field, hence the room in them. Every disk gets fresh GUIDs: the GUID of
// partition 1 is the disk's name on the kernel's command line
// (root=PARTUUID=<GUID>/PARTNROFF=<1|2>).
//
// Promise: RepairAndGrow leaves a table that firmware, kernel and this package
// can read if it is interrupted after any write, because one of the two copies
// is always complete. It changes nothing that is right already. It refuses a
// disk whose two copies are both unreadable, which is smaller than its table, or
// which is not divided as above; the caller then goes on with what the kernel
// found.
//
// Only 512 byte sectors are supported, like in gokrazy's root finding. The
// package is part of the initramfs and imports little; writing whole images is
// in disk/image.
package disk

import (
	"errors"
	"fmt"
)

// SectorSize is the only logical sector size supported.
const SectorSize = 512

// Partition numbers.
const (
	ESP      = 1
	RootA    = 2
	RootB    = 3
	Perm     = 4
	Identity = 5
)

// Sizes in bytes. /perm takes what is left, and at least PermMin.
const (
	mib          = 1 << 20
	ESPSize      = 512 * mib
	RootSize     = 1024 * mib
	IdentitySize = 64 * mib
	PermMin      = 512 * mib

	// MinSize is the smallest disk that New accepts: the partitions, and a MiB
	// at each end for the two copies of the table.
	MinSize = mib + ESPSize + 2*RootSize + IdentitySize + PermMin + mib
)

const align = mib / SectorSize

// ErrTooSmall is wrapped by New's error for a disk below MinSize.
var ErrTooSmall = errors.New("disk too small")

// New returns the table of a disk of size bytes, with fresh GUIDs.
func New(size int64) (*Table, error) {
	if size < MinSize {
		return nil, fmt.Errorf("%w: it has %d MiB, at least %d MiB are needed", ErrTooSmall, size/mib, MinSize/mib)
	}
	t := &Table{GUID: NewGUID(), Sectors: uint64(size) / SectorSize}
	next := uint64(align)
	for _, p := range []struct {
		number int
		typ    GUID
		name   string
		size   uint64
	}{
		{ESP, typeESP, "esp", ESPSize},
		{RootA, typeRoot, "root-a", RootSize},
		{RootB, typeRoot, "root-b", RootSize},
		{Identity, typeIdentity, "identity", IdentitySize},
	} {
		t.Partitions[p.number-1] = Partition{Type: p.typ, GUID: NewGUID(), First: next, Last: next + p.size/SectorSize - 1, Name: p.name}
		next += p.size / SectorSize
	}
	t.Partitions[Perm-1] = Partition{Type: typeLinux, GUID: NewGUID(), First: next, Last: permLast(t.Sectors), Name: "perm"}
	return t, nil
}

// permLast is where /perm ends on a disk of that many sectors: before the backup
// table, the end aligned to a MiB.
func permLast(sectors uint64) uint64 {
	usable := sectors - backupSectors // first sector that is not usable
	return usable - usable%align - 1
}

// grown returns the table extended to a disk of that many sectors.
func (t *Table) grown(sectors uint64) (*Table, error) {
	if t.Sectors > sectors {
		return nil, fmt.Errorf("the partition table is of a disk of %d sectors, this one has %d", t.Sectors, sectors)
	}
	g := *t
	g.Sectors = sectors
	perm := &g.Partitions[Perm-1]
	if !perm.Used() {
		return nil, fmt.Errorf("the partition table has no partition %d", Perm)
	}
	for i, p := range g.Partitions {
		if p.First > perm.First {
			return nil, fmt.Errorf("partition %d lies behind partition %d, which cannot grow", i+1, Perm)
		}
	}
	perm.Last = max(perm.Last, permLast(sectors))
	return &g, nil
}
