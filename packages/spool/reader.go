package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"micromirror/packages/durable"
)

// Place is where a reader is: a file, by what stays the same when it is renamed,
// and an offset in it.
type Place struct {
	Inode  uint64 `json:"inode"`
	Born   int64  `json:"born"` // nanoseconds since the epoch, 0 where the file system does not say
	Offset int64  `json:"offset"`
}

func (p Place) sameFile(other Place) bool { return p.Inode == other.Inode && p.Born == other.Born }

// Reader follows a log. It is used by one goroutine.
type Reader struct {
	dir, name string
	files     int
	keep      string // file that holds the place
	kept      Place
	doubt     *uint32 // sum of what should be before the place that was kept, until that is seen
	at        Place   // of what Next returned last, its end
	file      *os.File
	lost      bool
	buf       []byte
}

// batch is how much one Next reads at most; a longer line comes in pieces.
const batch = 64 << 10

// Follow opens a log for reading. keep is the file that the reader's place is kept
// in; one that is missing or unreadable means the oldest line.
func Follow(dir, name string, files int, keep string) *Reader {
	r := &Reader{dir: dir, name: name, files: files, keep: keep, buf: make([]byte, batch)}
	var k keptPlace
	data, err := os.ReadFile(keep)
	if err == nil && json.Unmarshal(data, &k) == nil && k.Offset >= 0 {
		r.at, r.kept, r.doubt = k.Place, k.Place, &k.Before
	}
	return r
}

// keptPlace is the content of the file that holds a place.
type keptPlace struct {
	Place
	// Before is the sum of the bytes before the place. A crash may shorten a log to
	// less than what was read of it, and then it grows again: with other lines.
	Before uint32 `json:"before"`
}

// before sums up the bytes of a file that end at an offset.
func before(f *os.File, offset int64) (uint32, error) {
	b := make([]byte, min(offset, 1<<10))
	if _, err := f.ReadAt(b, offset-int64(len(b))); err != nil {
		return 0, err
	}
	return crc32.ChecksumIEEE(b), nil
}

// Next returns whole lines, nil when there are none yet. They are valid until the
// next call.
func (r *Reader) Next() ([]byte, error) {
	for {
		if r.file == nil {
			if err := r.open(); err != nil || r.file == nil {
				return nil, err
			}
		}
		age := r.age(r.at) // before the read: what was written before a rotation is read first
		n, err := r.file.ReadAt(r.buf, r.at.Offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read log: %w", err)
		}
		if lines := whole(r.buf[:n], age != 0); len(lines) > 0 {
			r.at.Offset += int64(len(lines))
			return lines, nil
		}
		if age == 0 || !r.advance(age) {
			return nil, nil
		}
	}
}

// whole returns the complete lines of data; in a file that nobody writes to any
// more, and of a line too long, the rest too.
func whole(data []byte, ended bool) []byte {
	if i := bytes.LastIndexByte(data, '\n'); i >= 0 {
		return data[:i+1]
	}
	if ended || len(data) == batch {
		return data
	}
	return nil
}

// open opens the file that the reader is in, or the oldest if that is gone.
func (r *Reader) open() error {
	if r.at != (Place{}) {
		if age := r.age(r.at); age >= 0 && r.take(age, r.at) {
			return nil
		}
		r.lost = true
	}
	for age := r.files - 1; age >= 0; age-- {
		p, err := placeOf(path(r.dir, r.name, age))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("follow log: %w", err)
		}
		if r.take(age, p) {
			return nil
		}
	}
	return nil
}

// take opens the file of an age if it is the one that p names.
func (r *Reader) take(age int, p Place) bool {
	f, err := os.Open(path(r.dir, r.name, age))
	if err != nil {
		return false
	}
	is, err := place(int(f.Fd()), "")
	if err != nil || !is.sameFile(p) {
		f.Close()
		return false
	}
	if info, err := f.Stat(); err != nil || info.Size() < p.Offset {
		p.Offset = 0 // shorter than it was: another file after all
	}
	if r.doubt != nil {
		if sum, err := before(f, p.Offset); err != nil || sum != *r.doubt {
			p.Offset = 0
		}
		r.doubt = nil
	}
	r.close()
	r.file, r.at = f, p
	return true
}

// advance goes to the next younger file. It reports false if a rotation came in
// between; the next call of Next tries again.
func (r *Reader) advance(age int) bool {
	if age < 0 { // removed while it was read
		r.lost = true
		r.close()
		r.at = Place{}
		return true
	}
	next, err := placeOf(path(r.dir, r.name, age-1))
	if err != nil || r.age(r.at) != age {
		return false
	}
	return r.take(age-1, next)
}

// age finds a file, -1 if it is gone.
func (r *Reader) age(p Place) int {
	for age := range r.files {
		if q, err := placeOf(path(r.dir, r.name, age)); err == nil && q.sameFile(p) {
			return age
		}
	}
	return -1
}

func placeOf(file string) (Place, error) { return place(unix.AT_FDCWD, file) }

// place names the beginning of a file.
func place(dir int, file string) (Place, error) {
	var st unix.Statx_t
	flags := 0
	if file == "" {
		flags = unix.AT_EMPTY_PATH
	}
	if err := unix.Statx(dir, file, flags, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return Place{}, &fs.PathError{Op: "statx", Path: file, Err: err}
	}
	return Place{Inode: st.Ino, Born: st.Btime.Sec*1e9 + int64(st.Btime.Nsec)}, nil
}

// Lost reports whether lines were thrown away unread since it was last asked.
func (r *Reader) Lost() bool {
	lost := r.lost
	r.lost = false
	return lost
}

// Behind returns how many bytes have been written and not read.
func (r *Reader) Behind() int64 {
	var n int64
	for age := range r.files {
		info, err := os.Stat(path(r.dir, r.name, age))
		if err != nil {
			break
		}
		n += info.Size()
		if p, err := placeOf(path(r.dir, r.name, age)); err == nil && p.sameFile(r.at) {
			return n - r.at.Offset
		}
	}
	return n
}

// Place returns where the reader is, for Rewind.
func (r *Reader) Place() Place { return r.at }

// Rewind goes back to a place that the reader was at before, if it still exists.
func (r *Reader) Rewind(p Place) {
	r.close()
	r.at = p
}

// Save keeps the reader's place.
func (r *Reader) Save() error {
	if r.at == r.kept {
		return nil
	}
	data, err := r.keeping()
	if err == nil {
		err = durable.WriteFile(r.keep, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the place in the log: %w", err)
	}
	r.kept = r.at
	return nil
}

// keeping returns what to keep of the place.
func (r *Reader) keeping() ([]byte, error) {
	if r.file == nil && r.at != (Place{}) {
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	k := keptPlace{Place: r.at}
	if r.file != nil {
		var err error
		if k.Before, err = before(r.file, r.at.Offset); err != nil {
			return nil, err
		}
	}
	return json.Marshal(k)
}

// Close ends the reading.
func (r *Reader) Close() { r.close() }

func (r *Reader) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}
