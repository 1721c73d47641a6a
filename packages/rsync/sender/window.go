package sender

import "golang.org/x/sys/unix"

// windowSize is how much of a file is read at once.
const windowSize = 256 << 10

// window is the part of a file that is in memory. It moves forward only.
type window struct {
	fd    int
	size  int64 // of the file when it was opened: no more is read
	buf   []byte
	start int64 // of buf in the file
	n     int   // bytes of buf that are filled
	short bool  // the file could not be read in full: zeros stand for the rest
}

// holds reports whether need bytes from pos on are in memory.
func (w *window) holds(pos, need int64) bool {
	return pos >= w.start && pos+need <= w.start+int64(w.n)
}

// from is what is in memory from pos on.
func (w *window) from(pos int64) []byte { return w.buf[pos-w.start : w.n] }

// slide forgets what lies before pos and reads on.
func (w *window) slide(pos int64) {
	kept := 0
	if pos >= w.start && pos < w.start+int64(w.n) {
		kept = copy(w.buf, w.from(pos))
	}
	w.start, w.n = pos, kept
	want := int(min(int64(len(w.buf)), w.size-pos))
	for w.n < want {
		n := 0
		var err error
		if !w.short {
			n, err = unix.Pread(w.fd, w.buf[w.n:want], w.start+int64(w.n))
		}
		switch {
		case err == unix.EINTR:
		case n <= 0:
			w.short = true
			clear(w.buf[w.n:want])
			w.n = want
		default:
			w.n += n
		}
	}
}
