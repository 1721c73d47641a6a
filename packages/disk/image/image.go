// Package image writes the whole disk of a new node: partition table, ESP with
// loader, kernel and initramfs of both slots, both root file systems, the
// identity, and /perm: small and empty, or what a Storage puts there; it grows at
// first boot.
//
// Promise: Write says that a disk is too small, a release damaged or a target
// busy before it writes anything. A disk image appears under its name only when
// it is complete; on a disk the partition table comes last. Everything is
// flushed before Write returns. Neither root nor mounts are needed. Only the
// blocks that hold something are written to an image file, which stays sparse.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/durable"
	"micromirror/packages/identity"
	"micromirror/packages/perm"
	"micromirror/packages/release"
	"micromirror/packages/slot"
)

// Spec says what to write.
type Spec struct {
	Size       int64        // of an image file in bytes; 0 for a disk
	ReleaseDir string       // package release
	Identity   identity.Set // at least node.json and fleet.json
	Perm       Storage      // what /perm holds; nil for nothing
	// Arguments are further ones of the kernel, for a stick that does one thing: with
	// them both slots start every time, and no tries are counted.
	Arguments string
	Progress  func(Progress) // called from Write's goroutine; may be nil
}

// Storage is a file system for /perm that is not the empty one of the release.
type Storage interface {
	// Size is how much of the partition is written, and is to be read back.
	Size() int64
	// Write writes to a partition of size bytes.
	Write(ctx context.Context, t perm.Target, size int64) error
	// Verify compares the partition with what was written, and tells read how far
	// it is, which may end it.
	Verify(ctx context.Context, r io.ReaderAt, read func(n int64) error) error
}

// PermSize is how large /perm becomes on a disk of size bytes.
func PermSize(size int64) (int64, error) {
	t, err := disk.New(size)
	if err != nil {
		return 0, err
	}
	return t.Part(disk.Perm).Size(), nil
}

// Total is how much of a disk is written, and read back.
func (s Spec) Total(r *release.Release) int64 {
	perm := int64(perm.TemplateSize)
	if s.Perm != nil {
		perm = s.Perm.Size()
	}
	return 2*(r.Kernel.Size+r.Initrd.Size+r.Root.Size) + r.Loader.Size + perm
}

// Progress is how far Write is.
type Progress struct {
	Stage       string // release, esp, root-a, root-b, identity, perm, flush
	Done, Total int64  // bytes of all stages
}

// Generations of the two slots of a new disk: slot a is preferred.
const (
	generationA = 2
	generationB = 1
)

// Write writes a disk: to the image file out, which is made or replaced, or to
// the disk whose device node out is.
func Write(ctx context.Context, out string, s Spec) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write image %s: %w", out, err)
		}
	}()
	st, err := os.Stat(out)
	device := err == nil && st.Mode().Type()&fs.ModeDevice != 0
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && !device && !st.Mode().IsRegular():
		return errors.New("it is neither a file nor a disk")
	}
	s.report("release", 0, 0)
	r, err := release.Verify(ctx, s.ReleaseDir)
	if err != nil {
		return err
	}
	if r.Root.Size > disk.RootSize {
		return fmt.Errorf("%s has %d bytes, a root partition %d", release.RootFile, r.Root.Size, disk.RootSize)
	}
	if device {
		return writeDevice(ctx, out, s, r)
	}
	return writeFile(ctx, out, s, r)
}

func writeFile(ctx context.Context, out string, s Spec, r *release.Release) (err error) {
	t, err := disk.New(s.Size)
	if err != nil {
		return err
	}
	// For its owner only: it holds the node's key.
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := f.Truncate(s.Size); err != nil {
		return err
	}
	w := writer{spec: s, release: r, table: t, f: f, sparse: true}
	if err := w.write(ctx); err != nil {
		return err
	}
	return durable.Rename(f.Name(), out)
}

func writeDevice(ctx context.Context, out string, s Spec, r *release.Release) (err error) {
	f, err := os.OpenFile(out, os.O_RDWR|unix.O_EXCL, 0) // O_EXCL: busy if mounted
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("the disk is in use; unmount it first: %w", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if sector, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err != nil || sector != disk.SectorSize {
		return fmt.Errorf("a disk with sectors of %d bytes is needed, this one has %d (%v)", disk.SectorSize, sector, err)
	}
	size, err := disk.Size(f)
	if err != nil {
		return err
	}
	if s.Size != 0 && s.Size != size {
		return fmt.Errorf("size %d asked for, but the disk has %d bytes; leave the size out", s.Size, size)
	}
	t, err := disk.New(size)
	if err != nil {
		return err
	}
	w := writer{spec: s, release: r, table: t, f: f}
	if err := w.write(ctx); err != nil {
		return err
	}
	_, err = disk.RepairAndGrow(f) // finds nothing to repair; tells the kernel
	return err
}

// writer writes one disk.
type writer struct {
	spec    Spec
	release *release.Release
	table   *disk.Table
	f       *os.File
	sparse  bool // f is a new file: zeros need not be written

	stage       string
	done, total int64
}

func (w *writer) write(ctx context.Context) error {
	w.total = w.spec.Total(w.release)
	if err := disk.Erase(w.f, w.table); err != nil {
		return err
	}
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"esp", w.esp},
		{"root-a", func(ctx context.Context) error { return w.root(ctx, slot.A) }},
		{"root-b", func(ctx context.Context) error { return w.root(ctx, slot.B) }},
		{"identity", w.identity},
		{"perm", w.perm},
		{"flush", func(context.Context) error { return w.f.Sync() }},
	} {
		w.stage = stage.name
		w.add(0)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := stage.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", stage.name, err)
		}
	}
	return disk.Write(w.f, w.table)
}

func (w *writer) root(ctx context.Context, n slot.Name) error {
	in, err := os.Open(filepath.Join(w.spec.ReleaseDir, release.RootFile))
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(&sequential{ctx: ctx, r: w.region(n.Partition())}, in)
	return err
}

func (w *writer) identity(context.Context) error {
	region := w.region(disk.Identity)
	// An identity of the disk's earlier life must not be the newer one.
	for half := range int64(2) {
		if _, err := region.WriteAt(make([]byte, perm.BlockSize), half*identity.HalfSize); err != nil {
			return err
		}
	}
	return identity.Write(region, w.spec.Identity)
}

func (w *writer) perm(ctx context.Context) error {
	if w.spec.Perm != nil {
		return w.spec.Perm.Write(ctx, w.region(disk.Perm), w.table.Part(disk.Perm).Size())
	}
	in, err := os.Open(filepath.Join(w.spec.ReleaseDir, release.PermFile))
	if err != nil {
		return err
	}
	defer in.Close()
	return perm.Write(ctx, w.region(disk.Perm), w.table.Part(disk.Perm).Size(), in)
}

func (w *writer) add(n int) {
	w.done += int64(n)
	w.spec.report(w.stage, w.done, w.total)
}

func (s Spec) report(stage string, done, total int64) {
	if s.Progress != nil {
		s.Progress(Progress{stage, min(done, total), total})
	}
}
