// Package perm looks after the ext4 file system of /perm: it makes the small
// template at build time, checks it at each boot, re-makes it when it cannot be
// repaired, and grows and trims it on the running node.
//
// Promise: Check either leaves a file system that can be mounted or says Bad;
// it never runs longer than its limits and calls ping all the while, so that a
// watchdog can tell a long check from a hang. Remake needs nothing but the
// template, and if it is interrupted leaves no superblock, so that the next Check
// says Bad again and not Clean. Grow works on the mounted file system, which
// stays usable meanwhile, and continues where a power cut stopped it. Losing the
// content of /perm is acceptable (mirror data is fetched again, identity has its
// second copy on another partition); not booting is not.
//
// A file system with files in it (Filled) is made on the maintainer's computer, as
// large as they need, and grows on the node in the same way.
//
// The template is made for growth from 256 MiB to many TiB: block groups of
// 1,024 inodes (one inode per 128 KiB), room for the descriptors of 8 TiB beside
// the superblock (beyond that the kernel switches to meta_bg by itself), a
// journal of 64 MiB, no reserved blocks, and checksums that do not depend on the
// UUID, so that each disk can have its own.
package perm

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BlockSize is the block size of the file system.
const BlockSize = 4096

// resizeFS is EXT4_IOC_RESIZE_FS of the kernel's fs/ext4/ext4.h: _IOW('f', 16, __u64).
const resizeFS = 0x40086610

// Grow extends the file system mounted at mountpoint to the whole of the
// partition dev, and reports whether it became larger. It takes seconds to
// minutes for a new disk.
func Grow(mountpoint, dev string) (grown bool, err error) {
	size, err := deviceSize(dev)
	if err != nil {
		return false, fmt.Errorf("grow %s: %w", mountpoint, err)
	}
	before, err := Stat(mountpoint)
	if err != nil {
		return false, err
	}
	blocks := uint64(size) / BlockSize
	if err := onMountpoint(mountpoint, resizeFS, unsafe.Pointer(&blocks)); err != nil {
		return false, fmt.Errorf("grow %s to %d blocks: %w", mountpoint, blocks, err)
	}
	after, err := Stat(mountpoint)
	return after.Bytes > before.Bytes, err
}

// fstrimRange is struct fstrim_range of <linux/fs.h>.
type fstrimRange struct{ start, length, minLength uint64 }

// fitrim is FITRIM of <linux/fs.h>: _IOWR('X', 121, struct fstrim_range).
const fitrim = 0xc0185879

// Trim tells the disk which blocks of the file system are unused and returns how
// many bytes that was. The error of a disk that cannot do it is
// errors.ErrUnsupported.
func Trim(mountpoint string) (uint64, error) {
	r := fstrimRange{length: ^uint64(0)}
	if err := onMountpoint(mountpoint, fitrim, unsafe.Pointer(&r)); err != nil {
		return 0, fmt.Errorf("trim %s: %w", mountpoint, err)
	}
	return r.length, nil
}

// Harden changes how the file system at mountpoint is mounted: reading a mirror
// must not write access times, and nothing on it is a device or changes user.
func Harden(mountpoint string) error {
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOATIME | unix.MS_NODEV | unix.MS_NOSUID)
	if err := unix.Mount("", mountpoint, "", flags, ""); err != nil {
		return fmt.Errorf("remount %s: %w", mountpoint, err)
	}
	return nil
}

// Usage is the size and the free space of a file system.
type Usage struct {
	Bytes, FreeBytes   uint64
	Inodes, FreeInodes uint64
}

// Stat returns the usage of the file system mounted at mountpoint.
func Stat(mountpoint string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(mountpoint, &st); err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", mountpoint, err)
	}
	unit := uint64(st.Frsize)
	return Usage{Bytes: st.Blocks * unit, FreeBytes: st.Bavail * unit, Inodes: st.Files, FreeInodes: st.Ffree}, nil
}

func deviceSize(dev string) (int64, error) {
	f, err := os.Open(dev)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err == nil && size == 0 {
		err = errors.New("it is empty")
	}
	return size, err
}

func onMountpoint(mountpoint string, request uintptr, arg unsafe.Pointer) error {
	d, err := os.Open(mountpoint)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
