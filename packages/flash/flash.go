// Package flash writes a node's disk from the maintainer's computer, and refuses
// the disks that must not be written.
//
// Promise: Look finds what a disk is and who uses it, through partitions, RAID,
// LVM and encryption down to the disk. Refuse names the reason not to write it:
// it carries the running system, is mounted or otherwise in use, is a partition,
// or is too small. Write first clears both ends of the disk, where partition
// tables and the signatures of RAID and volume managers lie, then writes, and the
// new partition table last: a disk whose writing was interrupted looks empty,
// boots nothing, and can be written again. Verify reads everything back from the
// medium, not from memory, and compares it with the release, the identity and the
// mirror trees that should be there.
//
// Files read: /sys, /proc/self/mountinfo, /proc/swaps. Files written: the disk.
package flash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/disk/image"
)

// end is how much is cleared at each end of a disk: no partition begins before
// the first MiB or ends in the last.
const end = 1 << 20

// IsDevice says whether path is a device node; if not, it is a file to be made.
func IsDevice(path string) (bool, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return st.Mode()&fs.ModeDevice != 0, nil
}

// Write writes the disk and verifies it. An error says whether to do it again.
func Write(ctx context.Context, path string, s image.Spec) error {
	device, err := IsDevice(path)
	if err != nil {
		return err
	}
	if device {
		if err := clearEnds(path); err != nil {
			return err
		}
	}
	if err := image.Write(ctx, path, s); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %s boots nothing now; write it again: %w", path, err)
		}
		return err
	}
	if err := Verify(ctx, path, s); err != nil {
		return fmt.Errorf("%s is written, but reading it back failed; write it again, and take another disk if that fails too: %w", path, err)
	}
	return nil
}

// clearEnds makes the disk look empty.
func clearEnds(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s is in use; unmount it first: %w", path, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := disk.Size(f)
	if err != nil {
		return err
	}
	return clearBoth(f, size)
}

func clearBoth(f *os.File, size int64) error {
	if size < disk.MinSize {
		return fmt.Errorf("%w: it has %d MiB, at least %d MiB are needed", disk.ErrTooSmall, size>>20, int64(disk.MinSize)>>20)
	}
	zero := make([]byte, end)
	for _, at := range []int64{0, size - end} {
		if _, err := f.WriteAt(zero, at); err != nil {
			return fmt.Errorf("clear the disk's ends: %w", err)
		}
	}
	return f.Sync()
}
