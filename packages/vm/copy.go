package vm

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// CopySparse copies a disk image and leaves its holes holes, so that an image of
// many GB with little in it copies in moments. size grows the copy; 0 keeps the
// image's own size.
func CopySparse(from, to string, size int64) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy image: %w", err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("copy image: %w", err)
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	st, err := src.Stat()
	if err != nil {
		return fmt.Errorf("copy image: %w", err)
	}
	if size != 0 && size < st.Size() {
		return fmt.Errorf("copy image %s of %d bytes: cannot become %d bytes", from, st.Size(), size)
	}
	if err := dst.Truncate(max(size, st.Size())); err != nil {
		return fmt.Errorf("copy image: %w", err)
	}
	if err := CopyData(src, dst, 0, st.Size()); err != nil {
		return fmt.Errorf("copy image %s to %s: %w", from, to, err)
	}
	return nil
}

// CopyData copies a range of a file to the start of another one, without the
// range's holes.
func CopyData(src, dst *os.File, off, size int64) error {
	for end := off + size; off < end; {
		data, err := unix.Seek(int(src.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= end { // nothing but a hole to the end
			return nil
		}
		if err != nil {
			return err
		}
		hole, err := unix.Seek(int(src.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		hole = min(hole, end)
		if _, err := src.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := dst.Seek(data-(end-size), io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(dst, src, hole-data); err != nil { // copy_file_range(2) where it can
			return err
		}
		off = hole
	}
	return nil
}
