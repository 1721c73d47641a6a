package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// ErrLimit is the error behind every value that exceeds its bound.
var ErrLimit = errors.New("value out of bounds")

// Reader reads one direction of a connection. The zero value is not usable.
type Reader struct {
	// Message is called for each message met in a multiplexed stream, on the
	// goroutine that reads. payload is valid during the call only. An error
	// ends the stream.
	Message func(tag Tag, payload []byte) error

	// Patience bounds for how long a peer may send nothing but signs of life
	// and messages; zero means for ever.
	Patience time.Duration

	src      io.Reader
	protocol int
	buf      []byte
	pos, end int // data ready in buf
	fill     int // bytes read into buf
	frame    int // bytes of the current data frame not yet within pos…end
	mux      bool
	total    int64
	ndx      ndxState
	msg      []byte
	quiet    time.Time // when the first frame came after which there was no data
	err      error
}

// NewReader reads from src, not multiplexed, with a buffer of size bytes.
func NewReader(src io.Reader, size int) *Reader {
	return &Reader{src: src, buf: make([]byte, max(size, 4096)), protocol: MaxProtocol, ndx: newNdxState()}
}

// SetProtocol says which protocol was negotiated.
func (r *Reader) SetProtocol(v int) { r.protocol = v }

// Protocol is the negotiated protocol.
func (r *Reader) Protocol() int { return r.protocol }

// StartMultiplex makes everything from here on a sequence of frames.
func (r *Reader) StartMultiplex() {
	r.mux = true
	r.frame = 0
	r.end = r.pos
}

// StopMultiplex ends that between two frames; what follows is plain bytes until
// StartMultiplex.
func (r *Reader) StopMultiplex() {
	if r.frame > 0 || r.pos != r.end {
		r.Failf("%d bytes of a frame are left: %w", r.frame+r.end-r.pos, ErrLimit)
	}
	r.mux = false
}

// Err is the first error met.
func (r *Reader) Err() error { return r.err }

// Total is the number of raw bytes read so far, frames included.
func (r *Reader) Total() int64 { return r.total }

// Fail records err as the reader's error unless it has one already, and gives
// back the one that counts.
func (r *Reader) Fail(err error) error {
	if r.err == nil {
		r.err = err
		r.pos, r.end, r.fill, r.frame = 0, 0, 0, 0
	}
	return r.err
}

// Failf is Fail with a formatted text.
func (r *Reader) Failf(format string, args ...any) error {
	return r.Fail(fmt.Errorf(format, args...))
}

// more makes at least one byte of data available, or sets the error.
func (r *Reader) more() bool {
	for r.err == nil && r.pos == r.end {
		switch {
		case !r.mux:
			if r.raw(1) {
				r.end = r.fill
			}
		case r.frame > 0:
			if r.raw(1) {
				n := min(r.frame, r.fill-r.pos)
				r.end, r.frame = r.pos+n, r.frame-n
			}
		default:
			r.header()
		}
	}
	return r.err == nil
}

// raw makes at least n raw bytes available behind pos.
func (r *Reader) raw(n int) bool {
	if r.pos == r.fill {
		r.pos, r.end, r.fill = 0, 0, 0
	}
	if r.pos+n > len(r.buf) {
		copy(r.buf, r.buf[r.pos:r.fill])
		r.fill -= r.pos
		r.pos, r.end = 0, 0
	}
	for empty := 0; r.fill-r.pos < n; {
		k, err := r.src.Read(r.buf[r.fill:])
		r.fill += k
		r.total += int64(k)
		if r.fill-r.pos >= n {
			return true
		}
		if k == 0 {
			empty++
		}
		if err == nil && empty > 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			r.Fail(err)
			return false
		}
	}
	return true
}

// header reads one frame header, and the whole message if it is not data.
func (r *Reader) header() {
	if !r.raw(4) {
		return
	}
	h := binary.LittleEndian.Uint32(r.buf[r.pos:])
	r.pos += 4
	r.end = r.pos
	size := int(h & maxFrame)
	if h>>24 < muxBase {
		r.Failf("frame header %#x: no such tag", h)
		return
	}
	tag := Tag(h>>24 - muxBase)
	if tag == Data && size > 0 {
		r.frame, r.quiet = size, time.Time{}
		return
	}
	if !r.patient() || tag == Data {
		return
	}
	if size > MaxMessage {
		r.Failf("message of tag %d with %d bytes: %w", tag, size, ErrLimit)
		return
	}
	r.message(tag, size)
}

// patient fails the reader if data has not come for too long.
func (r *Reader) patient() bool {
	if r.Patience == 0 {
		return true
	}
	if r.quiet.IsZero() {
		r.quiet = time.Now()
	}
	if since := time.Since(r.quiet); since > r.Patience {
		r.Failf("no data for %v: %w", since, os.ErrDeadlineExceeded)
	}
	return r.err == nil
}

func (r *Reader) message(tag Tag, size int) {
	r.msg = r.msg[:0]
	for len(r.msg) < size {
		if !r.raw(1) {
			return
		}
		n := min(size-len(r.msg), r.fill-r.pos)
		r.msg = append(r.msg, r.buf[r.pos:r.pos+n]...)
		r.pos += n
		r.end = r.pos
	}
	if r.Message == nil {
		return
	}
	if err := r.Message(tag, r.msg); err != nil {
		r.Fail(err)
	}
}

// Next gives up to n bytes of data without copying, at least one unless the
// reader has failed. They are valid until the next call.
func (r *Reader) Next(n int) []byte {
	if n <= 0 || (r.pos == r.end && !r.more()) {
		return nil
	}
	n = min(n, r.end-r.pos)
	p := r.buf[r.pos : r.pos+n]
	r.pos += n
	return p
}

// Full fills p.
func (r *Reader) Full(p []byte) {
	for len(p) > 0 {
		b := r.Next(len(p))
		if b == nil {
			clear(p)
			return
		}
		p = p[copy(p, b):]
	}
}

// Skip passes over n bytes.
func (r *Reader) Skip(n int64) {
	for n > 0 && r.err == nil {
		n -= int64(len(r.Next(int(min(n, int64(len(r.buf)))))))
	}
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.pos == r.end && !r.more() {
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

// Line reads up to a newline, which is dropped with a carriage return before
// it. Lines longer than limit are refused.
func (r *Reader) Line(limit int) string {
	var line []byte
	for r.err == nil {
		if r.pos == r.end && !r.more() {
			break
		}
		chunk := r.buf[r.pos:r.end]
		i := bytes.IndexByte(chunk, '\n')
		n := len(chunk)
		if i >= 0 {
			n = i
		}
		if len(line)+n > limit {
			r.Failf("line longer than %d bytes: %w", limit, ErrLimit)
			break
		}
		line = append(line, chunk[:n]...)
		r.pos += n
		if i >= 0 {
			r.pos++
			return string(bytes.TrimSuffix(line, []byte{'\r'}))
		}
	}
	return ""
}
