package flash

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
)

// WriteSmall writes a small image to the beginning of a disk, clears the disk's
// end, where another partition table may lie, and reads the image back.
func WriteSmall(path string, image []byte) (err error) {
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
	if size < int64(len(image))+end {
		return fmt.Errorf("%s: %w: it has %d MiB, %d MiB are needed; is a medium inserted?", path, disk.ErrTooSmall, size>>20, (int64(len(image))+end)>>20)
	}
	if _, err := f.WriteAt(make([]byte, end), size-end); err != nil {
		return fmt.Errorf("clear the disk's end: %w", err)
	}
	if _, err := f.WriteAt(image, 0); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), forget(f)); err != nil {
		return err
	}
	got := make([]byte, len(image))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, image) {
		return fmt.Errorf("%s is written, but reading it back failed; take another one: %w", path, errors.Join(err, errDiffers))
	}
	return nil
}
