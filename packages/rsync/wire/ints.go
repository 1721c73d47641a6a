package wire

import (
	"encoding/binary"
	"math/bits"
)

// extra tells from the first byte of a varint or varlong how many bytes follow
// beyond the least: its leading ones, at most six.
func extra(first byte) int { return min(bits.LeadingZeros8(^first), 6) }

// Int32 reads four bytes.
func (r *Reader) Int32() int32 {
	if r.end-r.pos >= 4 {
		v := binary.LittleEndian.Uint32(r.buf[r.pos:])
		r.pos += 4
		return int32(v)
	}
	var b [4]byte
	r.Full(b[:])
	return int32(binary.LittleEndian.Uint32(b[:]))
}

// Uint16 reads two bytes.
func (r *Reader) Uint16() uint16 {
	lo := r.Byte()
	return uint16(lo) | uint16(r.Byte())<<8
}

// Longint reads the 64-bit form that protocols before 30 use.
func (r *Reader) Longint() int64 {
	if v := r.Int32(); v != -1 {
		return int64(v)
	}
	var b [8]byte
	r.Full(b[:])
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// Varint reads the compact form of an int32.
func (r *Reader) Varint() int32 {
	first := r.Byte()
	if first < 0x80 {
		return int32(first)
	}
	n := extra(first)
	if n > 4 {
		r.Failf("varint with %d more bytes: %w", n, ErrLimit)
		return 0
	}
	var b [8]byte
	r.Full(b[:n])
	b[n] = first & (1<<(8-n) - 1)
	return int32(binary.LittleEndian.Uint32(b[:]))
}

// Varlong reads the compact form of an int64 of at least least bytes (1…8).
func (r *Reader) Varlong(least int) int64 {
	var in, b [16]byte
	r.Full(in[:least])
	copy(b[:], in[1:least])
	n := extra(in[0])
	if least+n > 9 {
		r.Failf("varlong with %d more bytes: %w", n, ErrLimit)
		return 0
	}
	if n > 0 {
		r.Full(b[least-1 : least-1+n])
		b[least-1+n] = in[0] & (1<<(8-n) - 1)
	} else {
		b[least-1] = in[0]
	}
	return int64(binary.LittleEndian.Uint64(b[:8]))
}

// Varint30 is a varint since protocol 30 and an int32 before.
func (r *Reader) Varint30() int32 {
	if r.protocol < 30 {
		return r.Int32()
	}
	return r.Varint()
}

// Varlong30 is a varlong since protocol 30 and a longint before.
func (r *Reader) Varlong30(least int) int64 {
	if r.protocol < 30 {
		return r.Longint()
	}
	return r.Varlong(least)
}

// Bounded fails the reader unless lo ≤ v ≤ hi, naming what in the error. Once
// the reader has failed it gives lo.
func (r *Reader) Bounded(v, lo, hi int64, what string) int64 {
	if r.err == nil && (v < lo || v > hi) {
		r.Failf("%s is %d, not within %d…%d: %w", what, v, lo, hi, ErrLimit)
	}
	if r.err != nil {
		return lo
	}
	return v
}

// Vstring reads a string of at most limit bytes.
func (r *Reader) Vstring(limit int) string {
	n := int(r.Byte())
	if n&0x80 != 0 {
		n = n&^0x80<<8 + int(r.Byte())
	}
	if n > limit {
		r.Failf("string of %d bytes, at most %d: %w", n, limit, ErrLimit)
		return ""
	}
	b := make([]byte, n)
	r.Full(b)
	return string(b)
}

// Int32 writes four bytes.
func (w *Writer) Int32(v int32) {
	w.room(4)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(v))
}

// Uint16 writes two bytes.
func (w *Writer) Uint16(v uint16) {
	w.room(2)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, v)
}

// Longint writes the 64-bit form that protocols before 30 use.
func (w *Writer) Longint(v int64) {
	if v >= 0 && v <= 1<<31-1 {
		w.Int32(int32(v))
		return
	}
	w.room(12)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, 0xFFFFFFFF)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(v))
}

// Varint writes the compact form of an int32.
func (w *Writer) Varint(v int32) { w.compact(uint64(uint32(v)), 1) }

// Varlong writes the compact form of an int64, never shorter than least bytes.
func (w *Writer) Varlong(v int64, least int) { w.compact(uint64(v), least) }

// compact writes u in at least least bytes: a first byte with one leading one for each byte beyond least and, where they
// fit beside those, the top bits of u; then the lower bytes.
func (w *Writer) compact(u uint64, least int) {
	n := max(least, (bits.Len64(u)+7)/8)
	more := n - least
	top := byte(u >> (8 * (n - 1)))
	w.room(9)
	at := len(w.buf)
	b := w.buf[:at+9]
	if int(top) >= 1<<(7-more) {
		b[at] = ^byte(0xFF >> (more + 1))
		n++
	} else {
		b[at] = ^byte(0xFF>>more) | top
	}
	binary.LittleEndian.PutUint64(b[at+1:], u)
	w.buf = b[:at+n]
}

// Varint30 is a varint since protocol 30 and an int32 before.
func (w *Writer) Varint30(v int32) {
	if w.protocol < 30 {
		w.Int32(v)
		return
	}
	w.Varint(v)
}

// Varlong30 is a varlong since protocol 30 and a longint before.
func (w *Writer) Varlong30(v int64, least int) {
	if w.protocol < 30 {
		w.Longint(v)
		return
	}
	w.Varlong(v, least)
}

// Vstring writes s, of which no more than 32,767 bytes can be sent.
func (w *Writer) Vstring(s string) {
	if len(s) > 0x7FFF {
		w.Failf("string of %d bytes: %w", len(s), ErrLimit)
		return
	}
	if len(s) > 0x7F {
		w.Byte(byte(len(s)>>8) | 0x80)
	}
	w.Byte(byte(len(s)))
	w.String(s)
}
