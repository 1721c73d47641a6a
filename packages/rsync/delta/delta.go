// Package delta holds the two halves of rsync's delta algorithm that do not
// depend on who talks to whom: the signature of a basis file (Head, Sign) and
// how large its blocks should be (Plan).
//
// A signature is a Head and, for each block, a weak sum of four bytes and the
// first Head.SumLen bytes of a strong one. Longer blocks make it shorter and
// matches rarer; blocks near the square root of the file's size keep both in
// proportion. Strong sums need only be long enough that no wrong block is
// expected to match in the whole file: the sum over the file catches the rest,
// and the file is then sent once more.
package delta

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/wire"
)

// Bounds of the block length. Protocols before 30 allow longer blocks, which
// Plan makes no use of.
const (
	minBlock    = 700
	MaxBlock    = 1 << 17
	maxBlockOld = 1 << 29
)

// spareBits makes a false match in a whole file improbable.
const spareBits = 10

// ErrHead is the error of an impossible head.
var ErrHead = errors.New("invalid head of block sums")

// Head describes a signature. The zero Head is that of no basis at all.
type Head struct {
	Count     int32 // of blocks
	BlockLen  int32 // of all but the last
	SumLen    int32 // of each strong sum
	Remainder int32 // length of the last block if it is shorter, else 0
}

// Plan gives the head for a basis of a size, or false if none can describe it.
func Plan(size int64, sumSize int) (Head, bool) {
	if size <= 0 {
		return Head{}, size == 0
	}
	root := int64(math.Sqrt(float64(size)))
	block := min(max(root&^7, minBlock), MaxBlock)
	count := size / block
	if size%block > 0 {
		count++
	}
	if count > math.MaxInt32 {
		return Head{}, false
	}
	need := spareBits + bits.Len64(uint64(size)) + bits.Len64(uint64(count)) - 32
	sum := min(max((need+7)/8, 2), sumSize)
	return Head{int32(count), int32(block), int32(sum), int32(size % block)}, true
}

// Last is the length of the last block.
func (h Head) Last() int32 { return cmp.Or(h.Remainder, h.BlockLen) }

// Size is the length of the file that the signature covers.
func (h Head) Size() int64 {
	if h.Count == 0 {
		return 0
	}
	return int64(h.Count-1)*int64(h.BlockLen) + int64(h.Last())
}

// Block gives the place of block i, which must be less than Count.
func (h Head) Block(i int32) (offset int64, length int) {
	offset = int64(i) * int64(h.BlockLen)
	if i == h.Count-1 {
		return offset, int(h.Last())
	}
	return offset, int(h.BlockLen)
}

// Write sends the head.
func (h Head) Write(w *wire.Writer) {
	w.Int32(h.Count)
	w.Int32(h.BlockLen)
	w.Int32(h.SumLen)
	w.Int32(h.Remainder)
}

// ReadHead reads a head and checks it. sumSize is the length of a whole sum.
func ReadHead(r *wire.Reader, sumSize int) (Head, error) {
	h := Head{r.Int32(), r.Int32(), r.Int32(), r.Int32()}
	if err := r.Err(); err != nil {
		return Head{}, err
	}
	limit := int32(MaxBlock)
	if r.Protocol() < 30 {
		limit = maxBlockOld
	}
	switch {
	case h.Count < 0, h.BlockLen < 0, h.BlockLen > limit, h.Count > 0 && h.BlockLen == 0,
		h.SumLen < 0, int(h.SumLen) > sumSize, h.Remainder < 0, h.Remainder > h.BlockLen:
		return Head{}, fmt.Errorf("%+v: %w", h, ErrHead)
	}
	return h, nil
}

// signBuffer is how much of a basis is read at once.
const signBuffer = 1 << 20

// Sign sends the head and the sums of the blocks of basis. Should the basis
// turn out to be shorter than the head says, it goes on with sums of zeros, as
// the head has been sent: they match nothing.
func Sign(w *wire.Writer, basis io.Reader, h Head, sums checksum.Sums) error {
	h.Write(w)
	if h.Count == 0 {
		return w.Err()
	}
	perRead := max(signBuffer/int(h.BlockLen), 1)
	buf := make([]byte, min(int64(perRead)*int64(h.BlockLen), h.Size()))
	strong := make([]byte, 0, checksum.MaxSize)
	for left := h.Size(); left > 0; {
		n := int(min(left, int64(len(buf))))
		left -= int64(n)
		if k, err := io.ReadFull(basis, buf[:n]); err != nil {
			clear(buf[k:n])
		}
		for p := buf[:n]; len(p) > 0; {
			b := p[:min(len(p), int(h.BlockLen))]
			p = p[len(b):]
			w.Int32(int32(checksum.Weak(b)))
			strong = sums.Block(strong[:0], b)
			w.Write(strong[:h.SumLen])
		}
		if err := w.Err(); err != nil {
			return err
		}
	}
	return nil
}
