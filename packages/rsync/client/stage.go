package client

import (
	"errors"
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
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(int(w.dir.Fd()), base, flags, 0o600)
	if errors.Is(err, unix.EACCES) { // complete once, with a mode that upstream gave it
		if err = unix.Unlinkat(int(w.dir.Fd()), base, 0); err == nil {
			fd, err = unix.Openat(int(w.dir.Fd()), base, flags, 0o600)
		}
	}
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

// isFatal tells whether an error of one file will be that of all others, too.
func isFatal(err error) bool {
	for _, e := range []error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO, unix.EMFILE, unix.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
