package rescue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"micromirror/packages/disk"
)

// Disk is a box's own disk. Sync flushes it, and makes what is read afterwards come
// from the medium.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// headSize is the part of the EFI system partition without which no firmware takes
// it for a file system: both boot sectors.
const headSize = 4096

// Write writes a disk of size bytes anew. It may tell how far it is.
func (s *Stick) Write(ctx context.Context, d Disk, size int64, tell func(done, total int64)) error {
	node, t, err := look(d, size)
	if err != nil {
		return err
	}
	if node != s.Node {
		return fmt.Errorf("is the disk of node %s, and the stick is for %s", node, s.Node)
	}
	w := &writer{ctx: ctx, d: d, total: 4*s.Root.Size + 2*s.Boot.Size, tell: tell}
	boot := bytes.ReplaceAll(s.boot, []byte(s.GUID), []byte(t.Part(disk.ESP).GUID.String()))
	esp := t.Part(disk.ESP).Offset()
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"stop it from starting", func() error { return w.put(make([]byte, headSize), esp) }},
		{"slot a", func() error { return w.root(s, t.Part(disk.RootA).Offset()) }},
		{"slot b", func() error { return w.root(s, t.Part(disk.RootB).Offset()) }},
		{"boot files", func() error { return w.put(boot[headSize:], esp+headSize) }},
		{"partition table", func() error { return disk.Write(d, t) }},
		{"let it start", func() error { return w.put(boot[:headSize], esp) }},
	} {
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// writer counts what is written and read back.
type writer struct {
	ctx         context.Context
	d           Disk
	done, total int64
	tell        func(done, total int64)
}

func (w *writer) add(n int64) {
	if w.done += n; w.tell != nil {
		w.tell(min(w.done, w.total), w.total)
	}
}

// root copies the root file system from the stick, which is checked once more.
func (w *writer) root(s *Stick, off int64) error {
	var failed error
	err := stream(w.ctx, s.root, s.Root, func(b []byte, at int64) error {
		_, failed = w.d.WriteAt(b, off+at)
		return failed
	}, w.add)
	if err != nil && failed == nil && w.ctx.Err() == nil {
		return fmt.Errorf("%w: %w", ErrStick, err)
	}
	if err != nil {
		return err
	}
	return w.readBack(s.Root, off)
}

// put writes b and flushes it.
func (w *writer) put(b []byte, off int64) error {
	for at := 0; at < len(b); at += chunk {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		piece := b[at:min(at+chunk, len(b))]
		if _, err := w.d.WriteAt(piece, off+int64(at)); err != nil {
			return err
		}
		w.add(int64(len(piece)))
	}
	return w.readBack(Describe(b), off)
}

// readBack compares what the medium has with what was written.
func (w *writer) readBack(p Part, off int64) error {
	if err := w.d.Sync(); err != nil {
		return err
	}
	err := stream(w.ctx, io.NewSectionReader(w.d, off, p.Size), p, nil, w.add)
	if errors.Is(err, errDiffers) {
		return errors.New("what is read back is not what was written; the disk is worn out")
	}
	return err
}
