package image

import (
	"bytes"
	"context"
	"errors"
	"os"

	"micromirror/packages/disk"
	"micromirror/packages/release"
)

// BootFiles returns the EFI system partition of a disk whose partition 1 has the
// GUID. The zeros that follow are left out.
func BootFiles(ctx context.Context, releaseDir string, g disk.GUID) (_ []byte, err error) {
	r, err := release.Verify(ctx, releaseDir)
	if err != nil {
		return nil, err
	}
	t, err := disk.New(disk.MinSize)
	if err != nil {
		return nil, err
	}
	t.Partitions[disk.ESP-1].GUID = g
	f, err := os.CreateTemp("", "boot")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if err := f.Truncate(disk.MinSize); err != nil {
		return nil, err
	}
	w := writer{spec: Spec{ReleaseDir: releaseDir}, release: r, table: t, f: f, sparse: true}
	if err := w.esp(ctx); err != nil {
		return nil, err
	}
	return used(w.region(disk.ESP))
}

// used returns a region up to the last MiB in which something is.
func used(r *region) (out []byte, err error) {
	piece := make([]byte, 1<<20)
	zero := make([]byte, len(piece))
	for at := int64(0); at < r.size; at += int64(len(piece)) {
		if _, err := r.ReadAt(piece, at); err != nil {
			return nil, err
		}
		if !bytes.Equal(piece, zero) {
			out = append(append(out, make([]byte, at-int64(len(out)))...), piece...)
		}
	}
	return out, nil
}
