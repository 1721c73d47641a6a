package fetch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"micromirror/packages/chunk"
	"micromirror/packages/durable"
)

const (
	partSuffix = ".part"
	// syncEvery bounds what a power cut costs.
	syncEvery = 4 << 20
	bufSize   = 32 << 10
)

// errWrongData says that a server sent something else than it should have.
var errWrongData = errors.New("wrong data")

// localError is a failure of this computer: no other server can help.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

func isLocal(err error) bool { return errors.As(err, new(localError)) }

// part is a file on its way.
type part struct {
	f        *os.File
	index    *chunk.Index
	have     []bool // chunk is there and was hashed
	had      int64  // bytes that were there already
	unsynced int64
	buf      [bufSize]byte
	progress func(bytes int64) // may be nil
}

// openPart opens or makes a part file and hashes what it holds.
func openPart(ctx context.Context, path string, index *chunk.Index) (_ *part, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, localError{err}
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, localError{err}
	}
	p := &part{f: f, index: index, have: make([]bool, len(index.Chunks))}
	if err := p.resume(ctx, st.Size()); err != nil {
		return nil, err
	}
	if err := p.reserve(); err != nil {
		return nil, fmt.Errorf("make room for %d bytes: %w", index.Size, localError{err})
	}
	return p, nil
}

// resume finds the chunks that are there.
func (p *part) resume(ctx context.Context, size int64) error {
	for k, c := range p.index.Chunks {
		if c.End() > size {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		// What cannot be read is not there.
		sum, err := p.sum(io.NewSectionReader(p.f, c.Offset, int64(c.Size)))
		if p.have[k] = err == nil && sum == c.SHA256; p.have[k] {
			p.had += int64(c.Size)
		}
	}
	return nil
}

// reserve takes the room on the disk before anything travels.
func (p *part) reserve() error {
	if err := p.f.Truncate(p.index.Size); err != nil || p.index.Size == 0 {
		return err
	}
	err := unix.Fallocate(int(p.f.Fd()), 0, 0, p.index.Size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

func (p *part) sum(r io.Reader) (out [sha256.Size]byte, err error) {
	h := sha256.New()
	_, err = io.CopyBuffer(h, r, p.buf[:])
	h.Sum(out[:0])
	return out, err
}

// missing lists the chunks that are not there.
func (p *part) missing() []int {
	var out []int
	for k, have := range p.have {
		if !have {
			out = append(out, k)
		}
	}
	return out
}

// fill reads a chunk from r. One that is there already is only read.
func (p *part) fill(k int, r io.Reader) error {
	c := p.index.Chunks[k]
	h := sha256.New()
	var w io.Writer = h
	if !p.have[k] {
		w = io.MultiWriter(h, &writer{p.f, c.Offset})
	}
	n, err := io.CopyBuffer(w, io.LimitReader(r, int64(c.Size)), p.buf[:])
	if err == nil && n < int64(c.Size) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return p.judge(k, h)
}

// judge accepts a chunk that has just been written, or not.
func (p *part) judge(k int, h hash.Hash) error {
	c := p.index.Chunks[k]
	if [sha256.Size]byte(h.Sum(nil)) != c.SHA256 {
		return fmt.Errorf("%w: bytes %d to %d do not have their hash", errWrongData, c.Offset, c.End())
	}
	if p.have[k] {
		return nil
	}
	p.have[k] = true
	if p.progress != nil {
		p.progress(int64(c.Size))
	}
	if p.unsynced += int64(c.Size); p.unsynced >= syncEvery {
		return p.sync()
	}
	return nil
}

// copyFrom takes a chunk from a local source.
func (p *part) copyFrom(s chunk.Source, c chunk.Copy) error {
	err := p.fill(c.Chunk, io.NewSectionReader(s.R, c.Offset, int64(p.index.Chunks[c.Chunk].Size)))
	if err != nil {
		return fmt.Errorf("take chunk %d from %s: %w", c.Chunk, s.Name, err)
	}
	return nil
}

func (p *part) sync() error {
	if p.unsynced == 0 {
		return nil
	}
	p.unsynced = 0
	if err := p.f.Sync(); err != nil {
		return localError{err}
	}
	return nil
}

// finish checks the whole file and gives it its name.
func (p *part) finish(ctx context.Context, dest string) error {
	ok, err := matches(ctx, p.f.Name(), p.index.Size, p.index.SHA256)
	if err != nil {
		return err
	}
	if !ok { // its chunks are right, so it is the index that is wrong
		return errors.Join(errors.New("the chunks do not make the file: the index is wrong"), os.Remove(p.f.Name()))
	}
	if err := p.f.Sync(); err != nil {
		return localError{err}
	}
	return durable.Rename(p.f.Name(), dest)
}

func (p *part) close() error {
	if err := p.f.Close(); err != nil {
		return localError{err}
	}
	return nil
}

// writer writes to a file from an offset on.
type writer struct {
	f   *os.File
	off int64
}

func (w *writer) Write(b []byte) (int, error) {
	n, err := w.f.WriteAt(b, w.off)
	w.off += int64(n)
	if err != nil {
		err = localError{err}
	}
	return n, err
}

// matches says whether a file is there with that content.
func matches(ctx context.Context, path string, size int64, sum [sha256.Size]byte) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, localError{err}
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() != size {
		return false, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, &cancellable{ctx, f}); err != nil {
		return false, localError{err}
	}
	return [sha256.Size]byte(h.Sum(nil)) == sum, nil
}

// cancellable ends when its context does.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancellable) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
