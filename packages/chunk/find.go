package chunk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Source is something at hand that may hold chunks: a root partition, a file of
// an earlier release.
type Source struct {
	Name  string // for errors
	R     io.ReaderAt
	Size  int64
	Known []Chunk // what it should hold; nil: it is read and cut
}

// Copy says where a chunk of the index is to be had.
type Copy struct {
	Chunk  int // position in the index
	Source int // position in the list of sources
	Offset int64
}

// Range is a stretch of the file, in bytes.
type Range struct{ Offset, Size int64 }

// End is the offset behind the range.
func (r Range) End() int64 { return r.Offset + r.Size }

// Plan says how to put the file together.
type Plan struct {
	Copies  []Copy // in the index's order
	Missing []int  // chunks that must travel, in the index's order
}

// Find looks for the chunks of the index in the sources. The plan is valid even
// with an error, which says what could not be read to its end.
func (i *Index) Find(ctx context.Context, sources []Source) (*Plan, error) {
	wanted := map[[sha256.Size]byte]bool{}
	for _, c := range i.Chunks {
		wanted[c.SHA256] = true
	}
	found := map[[sha256.Size]byte]Copy{}
	var errs []error
	for n, s := range sources {
		if len(found) == len(wanted) {
			break
		}
		err := s.each(ctx, func(c Chunk) error {
			if _, ok := found[c.SHA256]; !ok && wanted[c.SHA256] {
				found[c.SHA256] = Copy{Source: n, Offset: c.Offset}
			}
			return nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("look for chunks in %s: %w", s.Name, err))
		}
	}
	p := &Plan{}
	for k, c := range i.Chunks {
		if at, ok := found[c.SHA256]; ok {
			at.Chunk = k
			p.Copies = append(p.Copies, at)
		} else {
			p.Missing = append(p.Missing, k)
		}
	}
	return p, errors.Join(errs...)
}

// each calls f with each chunk of the source.
func (s Source) each(ctx context.Context, f func(Chunk) error) error {
	if s.Known == nil {
		return cut(&reader{ctx: ctx, r: io.NewSectionReader(s.R, 0, s.Size)}, f)
	}
	for _, c := range s.Known {
		if err := f(c); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Cut returns the chunks of the source, for Known.
func (s Source) Cut(ctx context.Context) ([]Chunk, error) {
	chunks := []Chunk{}
	err := s.each(ctx, func(c Chunk) error {
		chunks = append(chunks, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cut %s: %w", s.Name, err)
	}
	return chunks, nil
}

// Ranges merges chunks, given in the index's order, into stretches of the file.
func (i *Index) Ranges(chunks []int) []Range {
	var out []Range
	for _, k := range chunks {
		c := i.Chunks[k]
		if n := len(out); n > 0 && out[n-1].End() == c.Offset {
			out[n-1].Size += int64(c.Size)
		} else {
			out = append(out, Range{c.Offset, int64(c.Size)})
		}
	}
	return out
}

// reader ends when its context does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}
