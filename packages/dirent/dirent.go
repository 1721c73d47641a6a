// Package dirent reads directories without taking memory for each name: where
// trees of millions of entries are read, that is most of the cost.
//
// Promise: Each calls its function once for each entry but "." and "..", in the
// directory's own order; Lstat tells what an entry is. Names are slices of the
// reader's buffer and end in a zero byte, as the kernel gives and takes them.
// Errors are the kernel's (unix.Errno); an interrupted call is repeated.
package dirent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// size is how much of a directory is read at once.
const size = 64 << 10

// Reader holds the buffer. The zero value is ready; one Reader reads one
// directory at a time.
type Reader struct{ buf []byte }

// Each calls f for each entry of an open directory, from its position on. The
// name keeps its zero byte and is valid until f returns.
func (r *Reader) Each(fd int, f func(name []byte)) error {
	if r.buf == nil {
		r.buf = make([]byte, size)
	}
	for {
		n, err := unix.Getdents(fd, r.buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n == 0:
			return nil
		}
		for rest := r.buf[:n]; len(rest) > 0; {
			var name []byte
			if name, rest = next(rest); string(name) != ".\x00" && string(name) != "..\x00" {
				f(name)
			}
		}
	}
}

// next takes one record off what getdents64 returned.
func next(buf []byte) (name, rest []byte) {
	length := int(binary.NativeEndian.Uint16(buf[unsafe.Offsetof(unix.Dirent{}.Reclen):]))
	name = buf[unsafe.Offsetof(unix.Dirent{}.Name):length]
	return name[:bytes.IndexByte(name, 0)+1], buf[length:]
}

// Lstat takes the status of an entry of a directory, whose name ends in a zero
// byte; a link is not followed.
func Lstat(dir int, name []byte, st *unix.Stat_t) error {
	if len(name) == 0 || name[len(name)-1] != 0 {
		return unix.EINVAL
	}
	for {
		_, _, e := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(dir), uintptr(unsafe.Pointer(unsafe.SliceData(name))),
			uintptr(unsafe.Pointer(st)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
		switch e {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return e
		}
	}
}
