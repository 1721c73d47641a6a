package seed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"slices"

	"micromirror/packages/ext4"
	"micromirror/packages/perm"
)

// sum is the checksum of a piece of content.
type sum struct {
	ext4.Span
	hash [sha256.Size]byte
}

// longestSum bounds how much is read back before a difference is seen.
const longestSum = 64 << 20

// summing writes content and remembers its checksums.
type summing struct {
	s    *Seed
	t    perm.Target
	hash hash.Hash
}

// WriteAt implements io.WriterAt. Most writes go on where the last one ended.
func (w *summing) WriteAt(b []byte, off int64) (int, error) {
	last := len(w.s.sums) - 1
	if last < 0 || w.s.sums[last].Offset+w.s.sums[last].Length != off || w.s.sums[last].Length >= longestSum {
		w.s.sums = append(w.s.sums, sum{Span: ext4.Span{Offset: off}})
		last, w.hash = last+1, sha256.New()
	}
	w.hash.Write(b) // never fails
	piece := &w.s.sums[last]
	piece.Length += int64(len(b))
	w.hash.Sum(piece.hash[:0])
	return w.t.WriteAt(b, off)
}

// ErrDiffers says that a disk does not give back what was written.
var ErrDiffers = errors.New("what is read is not what was written")

// Verify reads the partition back and compares it. read is told how much was
// read, and may end it.
func (s *Seed) Verify(ctx context.Context, r io.ReaderAt, read func(n int64) error) error {
	for _, p := range s.sums {
		if err := s.verifyContent(r, p, read); err != nil {
			return err
		}
	}
	for piece := range s.filled.Around(slices.Clone(s.spans)) {
		got, want := make([]byte, piece.Length), make([]byte, piece.Length)
		if _, err := r.ReadAt(got, piece.Offset); err != nil {
			return err
		}
		if _, err := s.filled.File.ReadAt(want, piece.Offset); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return ErrDiffers
		}
		if err := errors.Join(read(piece.Length), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Seed) verifyContent(r io.ReaderAt, p sum, read func(n int64) error) error {
	h, in := sha256.New(), io.NewSectionReader(r, p.Offset, p.Length)
	for {
		n, err := io.CopyN(h, in, 1<<20)
		if err := read(n); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !bytes.Equal(h.Sum(nil), p.hash[:]) {
		return ErrDiffers
	}
	return nil
}
