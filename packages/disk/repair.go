package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// file is what the table is kept on: a disk, or an image of one.
type file interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Read returns the table of a disk of size bytes: the primary copy, or the
// backup at the disk's end if the primary is damaged.
func Read(r io.ReaderAt, size int64) (*Table, error) {
	t, err := readPrimary(r)
	if err == nil {
		return t, nil
	}
	t, backupErr := readBackup(r, uint64(size)/SectorSize)
	if backupErr == nil {
		return t, nil
	}
	return nil, errors.Join(err, backupErr)
}

// Erase makes both places of the table of a disk unreadable, so that a disk that
// is being written anew does not look like the old one.
func Erase(f file, t *Table) error {
	zero := make([]byte, SectorSize)
	for _, at := range []int64{SectorSize, int64(t.Sectors-1) * SectorSize} {
		if err := writeSynced(f, zero, at); err != nil {
			return err
		}
	}
	return nil
}

// Write puts a new table on an erased disk or a new image.
func Write(f file, t *Table) error {
	_, err := update(f, t)
	return err
}

// RepairAndGrow brings the table of the running disk in order: it restores a
// damaged copy from the other one, extends /perm to the end of the disk if the
// disk is larger than the table says, and tells the kernel. It reports whether
// it wrote anything.
func RepairAndGrow(f *os.File) (changed bool, err error) {
	size, err := Size(f)
	if err != nil {
		return false, err
	}
	t, changed, err := repairAndGrow(f, uint64(size)/SectorSize)
	if err != nil {
		return changed, fmt.Errorf("repair partition table of %s: %w", f.Name(), err)
	}
	if err := tellKernel(f, "/sys", t); err != nil {
		return changed, fmt.Errorf("tell the kernel about the partitions of %s: %w", f.Name(), err)
	}
	return changed, nil
}

func repairAndGrow(f file, sectors uint64) (_ *Table, changed bool, err error) {
	t, err := readPrimary(f)
	if err != nil {
		backup, backupErr := readBackup(f, sectors)
		if backupErr != nil {
			return nil, false, errors.Join(err, backupErr)
		}
		// The backup is the only good copy: leave it alone until there are two.
		if err := writePart(f, backup, backup.primary(), SectorSize); err != nil {
			return nil, false, err
		}
		t, changed = backup, true
	}
	want, err := t.grown(sectors)
	if err != nil {
		return nil, changed, err
	}
	updated, err := update(f, want)
	return want, changed || updated, err
}

// update writes what differs from t: first the backup, then, when that is on the
// disk, the primary copy. At any moment one of the two is complete. A sector that
// cannot be read is written: the disk puts another in its place.
func update(f file, t *Table) (changed bool, err error) {
	for _, part := range []struct {
		data []byte
		off  int64
	}{
		{t.backup(), t.backupOffset()},
		{t.primary(), SectorSize},
		{protectiveMBR(t.Sectors), mbrOffset},
	} {
		if same(f, part.data, part.off) {
			continue
		}
		if err := writePart(f, t, part.data, part.off); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

// frontSectors are those before the first partition that the table and its MBR lie
// in, up to a multiple of any sector's or cache's size: those behind LBA 33 are free.
const frontSectors = 40

// writePart writes a part of the table. Where a sector cannot be read the kernel
// refuses to write a part of the 4 KiB block that it is in: then all is written that
// lies before the partitions. The backup must be complete by then.
func writePart(f file, t *Table, b []byte, off int64) error {
	err := writeSynced(f, b, off)
	if !errors.Is(err, syscall.EIO) || off >= frontSectors*SectorSize {
		return err
	}
	front := make([]byte, frontSectors*SectorSize)
	copy(front[mbrOffset:], protectiveMBR(t.Sectors))
	copy(front[SectorSize:], t.primary())
	return writeSynced(f, front, 0)
}

func writeSynced(f file, b []byte, off int64) error {
	if _, err := f.WriteAt(b, off); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush partition table: %w", err)
	}
	return nil
}

// Size returns the size of a disk or image in bytes.
func Size(f *os.File) (int64, error) {
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", f.Name(), err)
	}
	return n, nil
}
