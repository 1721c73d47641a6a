package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// headerSize is what a frame's header takes in front of the data.
const headerSize = 4

// Writer writes one direction of a connection. Nothing reaches the peer before
// the buffer is full or Flush is called.
type Writer struct {
	dst      io.Writer
	protocol int
	buf      []byte // the first headerSize bytes are kept for a frame header
	mux      bool
	total    int64
	ndx      ndxState
	vec      [2][]byte
	err      error
}

// vectorWriter is a connection that takes several slices in one system call.
type vectorWriter interface {
	WriteVector(b *net.Buffers) (int64, error)
}

// NewWriter writes to dst, not multiplexed, through a buffer of size bytes.
func NewWriter(dst io.Writer, size int) *Writer {
	size = min(max(size, 4096), maxFrame/2)
	return &Writer{dst: dst, protocol: MaxProtocol, buf: make([]byte, headerSize, size), ndx: newNdxState()}
}

// SetProtocol says which protocol was negotiated.
func (w *Writer) SetProtocol(v int) { w.protocol = v }

// Protocol is the negotiated protocol.
func (w *Writer) Protocol() int { return w.protocol }

// Multiplexed tells whether messages can be sent.
func (w *Writer) Multiplexed() bool { return w.mux }

// StartMultiplex sends what is buffered as it is and everything after in frames.
func (w *Writer) StartMultiplex() {
	w.Flush()
	w.mux = true
}

// Err is the first error met.
func (w *Writer) Err() error { return w.err }

// Total is the number of raw bytes handed to the connection, frames included.
func (w *Writer) Total() int64 { return w.total }

// Failf records an error unless there is one already.
func (w *Writer) Failf(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// room makes sure that n more bytes fit without growing the buffer.
func (w *Writer) room(n int) {
	if len(w.buf)+n > cap(w.buf) {
		w.Flush()
	}
}

// Byte writes one byte.
func (w *Writer) Byte(b byte) {
	w.room(1)
	w.buf = append(w.buf, b)
}

// String writes the bytes of s.
func (w *Writer) String(s string) {
	for len(s) > 0 {
		w.room(1)
		n := min(len(s), cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, s[:n]...)
		s = s[n:]
	}
}

// Write writes p; large data goes out without being copied.
func (w *Writer) Write(p []byte) (int, error) {
	if len(p) <= cap(w.buf)-len(w.buf) {
		w.buf = append(w.buf, p...)
		return len(p), w.err
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), maxFrame-len(w.buf))
		w.send(rest[:n])
		rest = rest[n:]
	}
	return len(p), w.err
}

// Flush sends what is buffered.
func (w *Writer) Flush() error {
	if len(w.buf) > headerSize {
		w.send(nil)
	}
	return w.err
}

// Keepalive sends an empty data frame, which peers of protocol 30 and later
// take as a sign of life. It does nothing on a stream that is not multiplexed.
func (w *Writer) Keepalive() error {
	w.Flush()
	if w.mux {
		w.send(nil)
	}
	return w.err
}

// send writes the buffer and p as one frame.
func (w *Writer) send(p []byte) {
	out := w.buf[headerSize:]
	if w.mux {
		out = w.buf
		binary.LittleEndian.PutUint32(out, muxBase<<24|uint32(len(w.buf)-headerSize+len(p)))
	}
	w.raw(out, p)
	w.buf = w.buf[:headerSize]
}

func (w *Writer) raw(head, p []byte) {
	if w.err != nil {
		return
	}
	w.vec = [2][]byte{head, p}
	parts := net.Buffers(w.vec[:])
	if len(p) == 0 {
		parts = parts[:1]
	}
	var n int64
	var err error
	if v, ok := w.dst.(vectorWriter); ok {
		n, err = v.WriteVector(&parts)
	} else {
		n, err = parts.WriteTo(w.dst)
	}
	w.total += n
	if err != nil {
		w.err = err
	}
}

// Message sends a message after the data written so far. On a stream that is
// not multiplexed it is dropped: the peer has no way to take it.
func (w *Writer) Message(tag Tag, payload []byte) error {
	w.Flush()
	if !w.mux {
		return w.err
	}
	payload = payload[:min(len(payload), MaxMessage)]
	var head [headerSize]byte
	binary.LittleEndian.PutUint32(head[:], (muxBase+uint32(tag))<<24|uint32(len(payload)))
	w.raw(head[:], payload)
	return w.err
}

// MessageInt32 sends a message that holds one number.
func (w *Writer) MessageInt32(tag Tag, v int32) error {
	return w.Message(tag, binary.LittleEndian.AppendUint32(nil, uint32(v)))
}
