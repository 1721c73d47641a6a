package tlsrecord

import (
	"crypto/cipher"
	"encoding/binary"
)

// crypt is what both directions need to handle a record. The nonce and the
// additional data live here so that nothing is allocated for a record.
type crypt struct {
	half  Half
	aead  cipher.AEAD
	nonce [12]byte
	more  [13]byte
}

// prepare computes the nonce of the next record; explicit are the eight bytes that
// it carries, if any.
func (c *crypt) prepare(explicit []byte) {
	if c.half.explicit() {
		copy(c.nonce[:4], c.half.IV)
		copy(c.nonce[4:], explicit)
		return
	}
	copy(c.nonce[:], c.half.IV)
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], c.half.Seq)
	for i, b := range seq {
		c.nonce[4+i] ^= b
	}
}

// additional returns the data that a record's tag covers beside its content.
func (c *crypt) additional(header []byte, plain int) []byte {
	if c.half.Version == version13 {
		return append(c.more[:0], header[:headerSize]...)
	}
	b := binary.BigEndian.AppendUint64(c.more[:0], c.half.Seq)
	b = append(b, header[:3]...)
	return binary.BigEndian.AppendUint16(b, uint16(plain))
}

// Sealer makes records.
type Sealer struct {
	crypt
	Head, Tail int // what a record has before and behind its content
}

func (h Half) sealer() (*Sealer, error) {
	a, err := h.aead()
	if err != nil {
		return nil, err
	}
	s := &Sealer{crypt: crypt{half: h, aead: a}, Head: headerSize, Tail: a.Overhead()}
	switch {
	case h.Version == version13:
		s.Tail++ // the content type
	case h.explicit():
		s.Head += 8
	}
	return s, nil
}

// Wrap makes a record in place: rec has the content between Head and Tail.
func (s *Sealer) Wrap(rec []byte, contentType byte) {
	n := len(rec) - s.Head - s.Tail
	rec[0], rec[1], rec[2] = contentType, 3, 3
	binary.BigEndian.PutUint16(rec[3:], uint16(len(rec)-headerSize))
	if s.half.explicit() {
		binary.BigEndian.PutUint64(rec[headerSize:], s.half.Seq)
	}
	s.prepare(rec[headerSize:s.Head])
	content := rec[s.Head : s.Head+n]
	if s.half.Version == version13 {
		rec[0] = TypeApplication
		rec[s.Head+n] = contentType
		content = rec[s.Head : s.Head+n+1]
	}
	s.aead.Seal(content[:0], s.nonce[:], content, s.additional(rec, n))
	s.half.Seq++
}

// Append appends data as records.
func (s *Sealer) Append(dst []byte, contentType byte, data []byte) []byte {
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), MaxPlain)
		at := len(dst)
		dst = append(dst, zeros[:s.Head]...)
		dst = append(dst, data[:n]...)
		dst = append(dst, zeros[:s.Tail]...)
		s.Wrap(dst[at:], contentType)
		data = data[n:]
	}
	return dst
}

// zeros is room. It is never written.
var zeros [64]byte
