package flash

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/disk/image"
	"micromirror/packages/identity"
	"micromirror/packages/release"
	"micromirror/packages/slot"
)

// verifier compares one disk with what should be on it.
type verifier struct {
	ctx     context.Context
	f       *os.File
	table   *disk.Table
	spec    image.Spec
	release *release.Release

	done, total int64
}

// Verify reads the disk or image at path and compares it.
func Verify(ctx context.Context, path string, s image.Spec) error {
	r, err := release.Read(s.ReleaseDir)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := forget(f); err != nil {
		return err
	}
	size, err := disk.Size(f)
	if err != nil {
		return err
	}
	t, err := disk.Read(f, size)
	if err != nil {
		return err
	}
	v := &verifier{ctx: ctx, f: f, table: t, spec: s, release: r}
	v.total = s.Total(r)
	for _, step := range []struct {
		name string
		run  func() error
	}{{"esp", v.esp}, {"root-a", func() error { return v.root(slot.A) }}, {"root-b", func() error { return v.root(slot.B) }},
		{"identity", v.identity}, {"perm", v.perm}} {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// forget drops what memory holds of the file, so that the medium is read.
func forget(f *os.File) error {
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("forget what was written: %w", err)
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&fs.ModeDevice == 0 {
		return err
	}
	// Without the right to do this, the advice above has to do.
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil && !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("forget what was written: %w", err)
	}
	return nil
}

func (v *verifier) section(partition int) *io.SectionReader {
	p := v.table.Part(partition)
	return io.NewSectionReader(v.f, p.Offset(), p.Size())
}

// add counts what was read, and ends the work with the context.
func (v *verifier) add(n int64) error {
	v.done += n
	if v.spec.Progress != nil {
		v.spec.Progress(image.Progress{Stage: "verify", Done: min(v.done, v.total), Total: v.total})
	}
	return v.ctx.Err()
}

var errDiffers = errors.New("what is read is not what was written")

// esp compares every file with the release's.
func (v *verifier) esp() error {
	s := v.section(disk.ESP)
	fat, err := fat32.Read(&storage{s}, s.Size(), 0, disk.SectorSize)
	if err != nil {
		return err
	}
	want := map[string]string{"/EFI/BOOT/BOOTX64.EFI": release.LoaderFile}
	for _, n := range []slot.Name{slot.A, slot.B} {
		want["/"+n.Dir()+"/"+release.KernelFile] = release.KernelFile
		want["/"+n.Dir()+"/"+release.InitrdFile] = release.InitrdFile
	}
	for path, name := range want {
		if err := v.espFile(fat, path, name); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	entries, err := fat.ReadDir(slot.EntriesDir)
	if err != nil {
		return fmt.Errorf("%s: %w", slot.EntriesDir, err)
	}
	if len(entries) != 2 {
		return fmt.Errorf("%s: holds %d entries, not one for each slot", slot.EntriesDir, len(entries))
	}
	return nil
}

func (v *verifier) espFile(fat *fat32.FileSystem, path, name string) error {
	want, err := os.ReadFile(filepath.Join(v.spec.ReleaseDir, name))
	if err != nil {
		return err
	}
	f, err := fat.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	// One read: go-diskfs counts too much when a file ends in a cluster in which
	// a read began. What the medium fails to give it leaves zero, so it differs.
	got := make([]byte, len(want)+1)
	n, err := f.Read(got)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(got[:n], want) {
		return errDiffers
	}
	return v.add(int64(n))
}

func (v *verifier) root(n slot.Name) error {
	h := sha256.New()
	in := io.NewSectionReader(v.section(n.Partition()), 0, v.release.Root.Size)
	for {
		n, err := io.CopyN(h, in, 1<<20)
		if err := v.add(n); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if fmt.Sprintf("%x", h.Sum(nil)) != v.release.Root.SHA256 {
		return errDiffers
	}
	return nil
}

func (v *verifier) identity() error {
	got, err := identity.Read(v.section(disk.Identity))
	if err != nil {
		return err
	}
	if !maps.EqualFunc(got, v.spec.Identity, bytes.Equal) {
		return errDiffers
	}
	return nil
}

// perm compares the file system with the template, apart from its own UUID.
func (v *verifier) perm() error {
	if v.spec.Perm != nil {
		return v.spec.Perm.Verify(v.ctx, v.section(disk.Perm), v.add)
	}
	in, err := os.Open(filepath.Join(v.spec.ReleaseDir, release.PermFile))
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return err
	}
	defer z.Close()
	want, got := make([]byte, 1<<20), make([]byte, 1<<20)
	written := v.section(disk.Perm)
	for {
		n, err := io.ReadFull(z, want)
		if n == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if _, err := io.ReadFull(written, got[:n]); err != nil {
			return err
		}
		if !bytes.Equal(got[:n], want[:n]) && !sameBlocks(got[:n], want[:n]) {
			return errDiffers
		}
		if err := v.add(int64(n)); err != nil {
			return err
		}
	}
}

// Where ext4's superblock has its signature, UUID and checksum.
const (
	superSize   = 1024
	superMagic  = 0x38
	superUUID   = 0x68
	superSum    = 0x3fc
	magicNumber = 0xef53
)

// sameBlocks says whether blocks differ only in the UUID of superblocks.
func sameBlocks(got, want []byte) bool {
	for i := 0; i+superSize <= len(want); i += superSize {
		g, w := got[i:i+superSize], want[i:i+superSize]
		if bytes.Equal(g, w) {
			continue
		}
		if binary.LittleEndian.Uint16(w[superMagic:]) != magicNumber {
			return false
		}
		if !bytes.Equal(g[:superUUID], w[:superUUID]) || !bytes.Equal(g[superUUID+16:superSum], w[superUUID+16:superSum]) {
			return false
		}
	}
	return true
}

// storage is a partition as go-diskfs wants it to read.
type storage struct{ *io.SectionReader }

func (s *storage) Stat() (fs.FileInfo, error)              { return nil, backend.ErrNotSuitable }
func (s *storage) Close() error                            { return nil }
func (s *storage) Sys() (*os.File, error)                  { return nil, backend.ErrNotSuitable }
func (s *storage) Writable() (backend.WritableFile, error) { return nil, backend.ErrNotSuitable }
func (s *storage) Path() string                            { return "" }
