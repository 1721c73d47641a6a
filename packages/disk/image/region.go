package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// region is one partition of the disk being written. It counts what is written,
// and leaves holes in a sparse file where the data is zero.
type region struct {
	w         *writer
	off, size int64
}

func (w *writer) region(partition int) *region {
	p := w.table.Part(partition)
	return &region{w, p.Offset(), p.Size()}
}

const holeSize = 64 << 10

// WriteAt implements io.WriterAt.
func (r *region) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(b)) > r.size {
		return 0, fmt.Errorf("write of %d bytes at %d exceeds the partition's %d", len(b), off, r.size)
	}
	for n := 0; n < len(b); {
		piece := b[n:min(n+holeSize, len(b))]
		if err := r.writePiece(piece, r.off+off+int64(n)); err != nil {
			return n, err
		}
		n += len(piece)
	}
	r.w.add(len(b))
	return len(b), nil
}

func (r *region) writePiece(b []byte, at int64) error {
	if old := make([]byte, len(b)); r.w.sparse && bytes.Equal(b, old) {
		if _, err := r.w.f.ReadAt(old, at); err != nil {
			return err
		}
		if bytes.Equal(old, b) {
			return nil
		}
	}
	_, err := r.w.f.WriteAt(b, at)
	return err
}

// ReadAt implements io.ReaderAt.
func (r *region) ReadAt(b []byte, off int64) (int, error) {
	return io.NewSectionReader(r.w.f, r.off, r.size).ReadAt(b, off)
}

// Sync flushes the whole disk.
func (r *region) Sync() error { return r.w.f.Sync() }

// sequential is an io.Writer onto a region that stops when ctx ends.
type sequential struct {
	ctx context.Context
	r   *region
	at  int64
}

func (s *sequential) Write(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.WriteAt(b, s.at)
	s.at += int64(n)
	return n, err
}
