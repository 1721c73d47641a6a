package client

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/delta"
)

// Sizes of the buffers between the network and the files.
const (
	writeBuffer = 256 << 10
	holeSize    = 4 << 10
	directWrite = 16 << 10 // blocks from here on are not copied first
)

// maxOver is by how much a file may exceed its announced size before the
// sender is taken for malicious instead of for one whose file has grown.
const maxOver = 1 << 30

// stageWriter writes one file after the other. Files are opened relative to
// their directory, which stays open as long as it is the same, and without
// following links.
type stageWriter struct {
	stage   *os.Root
	sparse  bool
	dirName string
	dir     *os.File

	fd      int
	base    string
	resumed bool   // the file had content, which serves as basis
	old     int64  // its size then
	basis   reader // what match reads from

	sum    hash.Hash
	head   delta.Head
	size   int64  // announced
	offset int64  // where the next byte belongs
	seen   int64  // bytes that the sender gave for this file
	buf    []byte // not yet written, ends at offset
	window []byte // read from the basis
	ahead  int64  // where it lies there
}

// reader is a basis.
type reader interface {
	ReadAt(p []byte, off int64) (int, error)
	Close() error
}

func newStageWriter(stage *os.Root, sparse bool) *stageWriter {
	return &stageWriter{stage: stage, sparse: sparse, fd: -1, buf: make([]byte, 0, writeBuffer)}
}

// open opens or makes a file for writing; what is in it is kept if resume says
// so.
func (w *stageWriter) open(dest string, resume bool) error {
	w.closeFile()
	w.buf, w.window, w.ahead = w.buf[:0], w.window[:0], 0
	w.offset, w.seen, w.resumed = 0, 0, false
	dir, base := path.Split(dest)
	if err := w.chdir(path.Clean(dir)); err != nil {
		return err
	}
	fd, err := unix.Openat(int(w.dir.Fd()), base, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dest, Err: err}
	}
	w.fd, w.base = fd, base
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dest, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return &fs.PathError{Op: "open", Path: dest, Err: unix.EINVAL}
	case st.Size == 0:
		return nil
	case resume:
		w.resumed, w.old = true, st.Size
		return nil
	}
	if err := unix.Ftruncate(fd, 0); err != nil {
		return &fs.PathError{Op: "truncate", Path: dest, Err: err}
	}
	return nil
}

// chdir makes dir the directory that files are opened in.
func (w *stageWriter) chdir(dir string) error {
	if w.dir != nil && dir == w.dirName {
		return nil
	}
	f, err := w.stage.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = w.stage.MkdirAll(dir, 0o755); err == nil {
			f, err = w.stage.Open(dir)
		}
	}
	if err != nil {
		return err
	}
	if w.dir != nil {
		w.dir.Close()
	}
	w.dir, w.dirName = f, dir
	return nil
}

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

// complete gives the file its length, mode and time and closes it.
func (w *stageWriter) complete(mode uint32, sec int64, nsec uint32) error {
	if w.sparse || w.resumed {
		if err := unix.Ftruncate(w.fd, w.offset); err != nil {
			return &fs.PathError{Op: "truncate", Path: w.base, Err: err}
		}
	}
	if err := unix.Fchmod(w.fd, mode&0o7777); err != nil {
		return &fs.PathError{Op: "chmod", Path: w.base, Err: err}
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: sec, Nsec: int64(nsec)}}
	if err := unix.UtimesNanoAt(int(w.dir.Fd()), w.base, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "chtimes", Path: w.base, Err: err}
	}
	return w.closeFile()
}

// keep closes a file that is not complete so that it can be continued.
func (w *stageWriter) keep() {
	w.flush()
	w.closeFile()
}

// discard removes a file whose content is wrong.
func (w *stageWriter) discard() {
	if w.fd >= 0 {
		unix.Unlinkat(int(w.dir.Fd()), w.base, 0)
	}
	w.closeFile()
}

func (w *stageWriter) closeFile() error {
	if w.basis != nil {
		w.basis.Close()
		w.basis = nil
	}
	if w.fd < 0 {
		return nil
	}
	err := unix.Close(w.fd)
	w.fd, w.old = -1, 0
	if err != nil {
		return &fs.PathError{Op: "close", Path: w.base, Err: err}
	}
	return nil
}

// close closes everything.
func (w *stageWriter) close() {
	w.closeFile()
	if w.dir != nil {
		w.dir.Close()
		w.dir = nil
	}
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

// isFatal tells whether an error of one file will be that of all others, too.
func isFatal(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
