package client

import (
	"bytes"
	"cmp"
	"fmt"
	"hash"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/delta"
)

// begin prepares for the content of the file just opened.
func (w *stageWriter) begin(sum hash.Hash, head delta.Head, size int64) {
	w.sum, w.head, w.size = sum, head, size
	if !w.resumed {
		return
	}
	if head.Count > 0 {
		w.basis = fdReader(w.fd)
		return
	}
	// Whoever asked did not see what is there now: start afresh.
	w.resumed, w.old = false, 0
	unix.Ftruncate(w.fd, 0)
}

// setBasis says what match reads from; nil means nothing.
func (w *stageWriter) setBasis(f *os.File) {
	if f != nil {
		w.basis = f
	}
}

// tooLong tells that the sender goes on and on.
func (w *stageWriter) tooLong() bool { return w.seen > w.size+maxOver }

// write takes the next bytes of the file. They come in pieces of 32 KiB at most
// and are written in larger ones.
func (w *stageWriter) write(p []byte) error {
	if err := w.fits(len(p)); err != nil {
		return err
	}
	w.sum.Write(p)
	for len(p) > 0 {
		n := min(len(p), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		w.offset += int64(n)
		p = p[n:]
		if len(w.buf) == cap(w.buf) {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// match takes a block of the basis as the next bytes of the file. Where the
// basis is the file itself and the block already in its place, nothing needs
// to be written.
func (w *stageWriter) match(block int32, drop bool) (int, error) {
	off, n := w.head.Block(block)
	w.seen += int64(n)
	if drop {
		return 0, nil
	}
	if w.basis == nil {
		return 0, fmt.Errorf("basis is gone: %w", ErrChecksum)
	}
	p, err := w.fromBasis(off, n)
	if err != nil {
		return 0, err
	}
	inPlace := w.resumed && off == w.offset
	if n < directWrite && !inPlace {
		return n, w.write(p)
	}
	if err := cmp.Or(w.fits(n), w.flush()); err != nil {
		return 0, err
	}
	if !inPlace {
		if err := w.put(p, w.offset); err != nil {
			return 0, err
		}
	}
	w.sum.Write(p)
	w.offset += int64(n)
	return n, nil
}

// fits refuses data beyond the announced size.
func (w *stageWriter) fits(n int) error {
	if w.offset+int64(n) > w.size {
		return fmt.Errorf("longer than announced: %w", ErrChanged)
	}
	return nil
}

// fromBasis gives n bytes of the basis. Blocks are mostly asked for one after
// the other, so more is read as soon as one follows the last. What was read
// ahead of a file's own content stays right when that is overwritten.
func (w *stageWriter) fromBasis(off int64, n int) ([]byte, error) {
	if i := off - w.ahead; i >= 0 && i+int64(n) <= int64(len(w.window)) {
		return w.window[i : i+int64(n)], nil
	}
	want := n
	if off <= w.ahead+int64(len(w.window)) && off > w.ahead {
		want = max(n, writeBuffer)
	}
	if cap(w.window) < want {
		w.window = make([]byte, max(want, writeBuffer))
	}
	if w.resumed {
		if err := w.flush(); err != nil {
			return nil, err
		}
	}
	k, err := w.basis.ReadAt(w.window[:want], off)
	w.window, w.ahead = w.window[:k], off
	if k < n {
		return nil, fmt.Errorf("basis has changed (%v): %w", err, ErrChecksum)
	}
	return w.window[:n], nil
}

// flush writes what is buffered.
func (w *stageWriter) flush() error {
	err := w.put(w.buf, w.offset-int64(len(w.buf)))
	w.buf = w.buf[:0]
	return err
}

// put writes p to its place.
func (w *stageWriter) put(p []byte, off int64) error {
	for len(p) > 0 {
		n := len(p)
		if w.sparse {
			n = min(n, holeSize-int(off%holeSize))
			if off >= w.old && allZero(p[:n]) {
				p, off = p[n:], off+int64(n)
				continue
			}
			n = dataRun(p, n)
		}
		k, err := unix.Pwrite(w.fd, p[:n], off)
		if err != nil && err != unix.EINTR {
			return &fs.PathError{Op: "write", Path: w.base, Err: err}
		}
		k = max(k, 0)
		p, off = p[k:], off+int64(k)
	}
	return nil
}

// dataRun lengthens a piece of n bytes by the pieces after it that are not zero.
func dataRun(p []byte, n int) int {
	for n < len(p) {
		next := min(len(p)-n, holeSize)
		if allZero(p[n : n+next]) {
			return n
		}
		n += next
	}
	return n
}

func allZero(p []byte) bool {
	return len(p) > 0 && p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1])
}

// fdReader reads a file that somebody else closes.
type fdReader int

func (fd fdReader) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(int(fd), p[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return done, err
		}
		done += n
	}
	return done, nil
}

func (fd fdReader) Close() error { return nil }
