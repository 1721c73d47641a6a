package slot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/disk"
	"micromirror/packages/durable"
	"micromirror/packages/release"
)

// Installation is a release on its way into the slot that is not running.
type Installation struct {
	ESP        string    // where the ESP is mounted
	Running    Name      // slot that is not touched; it must have been found healthy
	RootDevice string    // device node of the other slot's root partition
	Disk       disk.GUID // of partition 1
	Release    *release.Release
	Dir        string            // the release's files
	Progress   func(bytes int64) // written since the last call; may be nil
}

// Install writes the release and puts it on trial. The order lets the power fail
// at any point: the running slot becomes the fallback first, so that the loader
// need not rename the only entry there is; the other slot has no entry while it
// is incomplete; everything is flushed, read back and compared with its hash
// before the next step.
func Install(ctx context.Context, i Installation) (Entry, error) {
	target := i.Running.Other()
	e, err := i.install(ctx, target)
	if err != nil {
		return Entry{}, fmt.Errorf("install release %s in slot %s: %w", i.Release.Version, target, err)
	}
	return e, nil
}

func (i Installation) install(ctx context.Context, target Name) (Entry, error) {
	entries, listErr := List(i.ESP) // a damaged entry of the target is no hindrance
	generation := NextGeneration(entries)
	running, err := only(entries, i.Running, listErr)
	if err != nil {
		return Entry{}, err
	}
	if err := settle(i.ESP, []Entry{running, {Slot: target, Generation: generation}}, i.Running, i.Running, false); err != nil {
		return Entry{}, err
	}
	if err := Drop(i.ESP, target); err != nil {
		return Entry{}, err
	}
	if err := i.writeRoot(ctx); err != nil {
		return Entry{}, err
	}
	if err := i.writeBootFiles(ctx, target); err != nil {
		return Entry{}, err
	}
	e := New(target, generation, i.Release, i.Disk).WithTries(TrialTries)
	return e, Put(i.ESP, e)
}

// Clean removes from the ESP what interrupted changes, and repairs of the file
// system, have left: everything in the slots' folders but kernel and initramfs,
// temporary entries, and recovered fragments.
func Clean(esp string, running Name) error {
	var errs []error
	remove := func(dir string, leftover func(name string) bool) {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, f := range files {
			if leftover(f.Name()) {
				errs = append(errs, os.RemoveAll(filepath.Join(dir, f.Name())))
			}
		}
	}
	remove(esp, func(name string) bool {
		return strings.HasPrefix(strings.ToUpper(name), "FSCK") && strings.HasSuffix(strings.ToUpper(name), ".REC")
	})
	remove(filepath.Join(esp, EntriesDir), func(name string) bool { return strings.HasPrefix(name, ".") })
	for _, n := range []Name{running, running.Other()} {
		remove(filepath.Join(esp, n.Dir()), func(name string) bool {
			return name != release.KernelFile && name != release.InitrdFile
		})
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean ESP: %w", err)
	}
	return nil
}

// only returns the entry of a slot.
func only(entries []Entry, n Name, listErr error) (Entry, error) {
	for _, e := range entries {
		if e.Slot == n {
			return e, nil
		}
	}
	return Entry{}, errors.Join(fmt.Errorf("slot %s has no boot entry to fall back to", n), listErr)
}

func (i Installation) writeRoot(ctx context.Context) error {
	// O_EXCL is refused for a partition in use, so never for the wrong one.
	f, err := os.OpenFile(i.RootDevice, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := disk.Size(f)
	if err != nil {
		return err
	}
	if i.Release.Root.Size > size {
		return fmt.Errorf("%s has %d bytes, %s only %d", release.RootFile, i.Release.Root.Size, i.RootDevice, size)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return i.copy(ctx, f, i.Release.Root.File)
}

func (i Installation) writeBootFiles(ctx context.Context, target Name) error {
	dir := filepath.Join(i.ESP, target.Dir())
	// What was there goes first: the slot has no entry any more, and the ESP must
	// not need room for three.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	for _, file := range []release.File{i.Release.Kernel, i.Release.Initrd} {
		f, err := os.OpenFile(filepath.Join(dir, file.Name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		if err := errors.Join(i.copy(ctx, f, file), f.Close()); err != nil {
			return err
		}
	}
	if err := durable.Barrier(dir); err != nil {
		return err
	}
	return durable.Barrier(i.ESP)
}

// copy writes a file of the release to f, flushes it, and reads it back from the
// disk.
func (i Installation) copy(ctx context.Context, f *os.File, want release.File) error {
	in, err := os.Open(filepath.Join(i.Dir, want.Name))
	if err != nil {
		return err
	}
	defer in.Close()
	if err := i.stream(ctx, f, in, want.Size); err != nil {
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", f.Name(), err)
	}
	// Advice only; a file system may keep its cache.
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, want.Size)); err != nil {
		return fmt.Errorf("read back %s: %w", f.Name(), err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("read back %s: its hash is %s, %s has %s", f.Name(), got, want.Name, want.SHA256)
	}
	return nil
}

const chunk = 1 << 20

func (i Installation) stream(ctx context.Context, to io.Writer, from io.Reader, size int64) error {
	for left := size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(to, from, min(chunk, left))
		if err != nil {
			return err
		}
		left -= n
		if i.Progress != nil {
			i.Progress(n)
		}
	}
	return nil
}
