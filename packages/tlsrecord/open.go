package tlsrecord

import (
	"encoding/binary"
	"fmt"
)

// Opener opens records.
type Opener struct{ crypt }

func (h Half) opener() (*Opener, error) {
	a, err := h.aead()
	if err != nil {
		return nil, err
	}
	return &Opener{crypt{half: h, aead: a}}, nil
}

// Next opens the record at the beginning of data, in place, and returns its
// content and its length. n is 0 while the record is incomplete. After an error
// nothing more can be read.
func (o *Opener) Next(data []byte) (plain []byte, n int, err error) {
	contentType, plain, n, err := o.next(data)
	if err != nil || n == 0 {
		return nil, 0, err
	}
	switch contentType {
	case TypeApplication:
		return plain, n, nil
	case TypeAlert:
		return nil, n, ErrClosed
	}
	return nil, n, fmt.Errorf("record of type %d: %w", contentType, ErrSurprise)
}

func (o *Opener) next(data []byte) (contentType byte, plain []byte, n int, err error) {
	if len(data) < headerSize {
		return 0, nil, 0, nil
	}
	length := int(binary.BigEndian.Uint16(data[3:]))
	overhead := o.aead.Overhead()
	if o.half.explicit() {
		overhead += 8
	}
	if data[1] != 3 || data[2] != 3 || length < overhead || length > MaxRecord-headerSize {
		return 0, nil, 0, fmt.Errorf("record header % x: %w", data[:headerSize], ErrSurprise)
	}
	n = headerSize + length
	if len(data) < n {
		return 0, nil, 0, nil
	}
	contentType, plain, err = o.open(data[:n], length-overhead)
	return contentType, plain, n, err
}

// open opens a whole record with so many bytes of content.
func (o *Opener) open(rec []byte, size int) (contentType byte, plain []byte, err error) {
	sealed := rec[headerSize:]
	if o.half.explicit() {
		o.prepare(sealed[:8])
		sealed = sealed[8:]
	} else {
		o.prepare(nil)
	}
	plain, err = o.aead.Open(sealed[:0], o.nonce[:], sealed, o.additional(rec, size))
	if err != nil {
		return 0, nil, ErrBroken
	}
	o.half.Seq++
	contentType = rec[0]
	if o.half.Version == version13 {
		if contentType != TypeApplication {
			return 0, nil, fmt.Errorf("record of type %d: %w", contentType, ErrSurprise)
		}
		contentType, plain = inner(plain)
	}
	if len(plain) > MaxPlain {
		return 0, nil, fmt.Errorf("record of %d bytes: %w", len(plain), ErrSurprise)
	}
	return contentType, plain, nil
}

// inner takes the padding off and returns the real type, 0 if there is none.
func inner(plain []byte) (byte, []byte) {
	for i := len(plain) - 1; i >= 0; i-- {
		if plain[i] != 0 {
			return plain[i], plain[:i]
		}
	}
	return 0, nil
}
