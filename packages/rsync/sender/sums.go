package sender

import (
	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/wire"
)

// Bounds of what a client may say about its old version of a file. A version
// described beyond them is not compared: the file is sent whole.
const (
	maxBlock    = 1 << 17   // bytes in a block since protocol 30
	maxBlockOld = 1 << 29   // and before
	maxCompared = 1 << 20   // largest block that we compare
	maxBlocks   = 4 << 20   // blocks that we remember
	maxStrong   = 48 << 20  // bytes of their strong sums
	maxChain    = 1 << 10   // blocks with the same weak sum that are looked at
	maxSums     = 1<<31 - 1 // what the protocol can say
)

// head says how the client has cut its old version into blocks.
type head struct {
	count     int32
	length    int32 // of a block
	sum       int32 // length of a strong sum
	remainder int32 // length of the last block, 0 = as the others
}

func readHead(r *wire.Reader, size int) head {
	longest := int64(maxBlock)
	if r.Protocol() < 30 {
		longest = maxBlockOld
	}
	var h head
	h.count = int32(r.Bounded(int64(r.Int32()), 0, maxSums, "number of blocks"))
	h.length = int32(r.Bounded(int64(r.Int32()), 0, longest, "length of a block"))
	h.sum = int32(r.Bounded(int64(r.Int32()), 0, int64(size), "length of a sum"))
	h.remainder = int32(r.Bounded(int64(r.Int32()), 0, int64(h.length), "length of the last block"))
	if h.count > 0 && h.length == 0 {
		r.Failf("blocks of no length: %w", wire.ErrLimit)
	}
	return h
}

func (h head) write(w *wire.Writer) {
	w.Int32(h.count)
	w.Int32(h.length)
	w.Int32(h.sum)
	w.Int32(h.remainder)
}

// last is the length of the last block.
func (h head) last() int32 {
	if h.remainder != 0 {
		return h.remainder
	}
	return h.length
}

// total is the length of what the blocks describe.
func (h head) total() int64 {
	if h.count == 0 {
		return 0
	}
	return int64(h.count-1)*int64(h.length) + int64(h.last())
}

// basis is a client's old version: the sums of its blocks, found by weak sum.
type basis struct {
	head
	weak   []uint32
	strong []byte
	heads  []int32 // by hash of the weak sum: 1 + the first block
	next   []int32 // 1 + the next block with the same hash
	shift  uint
	sums   checksum.Sums
}

// readBasis reads the sums that follow a head. It returns nil if there is
// nothing to compare with.
func readBasis(r *wire.Reader, h head, sums checksum.Sums) *basis {
	if h.count > maxBlocks || int64(h.count)*int64(h.sum) > maxStrong || h.length > maxCompared || h.sum == 0 {
		r.Skip(int64(h.count) * int64(4+h.sum))
		return nil
	}
	if h.count == 0 {
		return nil
	}
	b := &basis{head: h, sums: sums}
	const step = 4096 // blocks that memory is taken for before they have come
	for i := int32(0); i < h.count && r.Err() == nil; i++ {
		if i%step == 0 {
			b.grow(int(min(step, h.count-i)))
		}
		b.weak = append(b.weak, uint32(r.Int32()))
		at := len(b.strong)
		b.strong = b.strong[:at+int(h.sum)]
		r.Full(b.strong[at:])
	}
	if r.Err() != nil {
		return nil
	}
	b.index()
	return b
}

func (b *basis) grow(n int) {
	weak := make([]uint32, len(b.weak), max(2*len(b.weak), len(b.weak)+n))
	if cap(b.weak)-len(b.weak) < n {
		copy(weak, b.weak)
		b.weak = weak
	}
	if need := n * int(b.sum); cap(b.strong)-len(b.strong) < need {
		strong := make([]byte, len(b.strong), max(2*len(b.strong), len(b.strong)+need))
		copy(strong, b.strong)
		b.strong = strong
	}
}

// index fills the hash table. Blocks are entered from the last to the first, so
// that a chain gives the first one first.
func (b *basis) index() {
	bits := uint(8)
	for 1<<bits < 2*len(b.weak) {
		bits++
	}
	b.shift = 32 - bits
	b.heads = make([]int32, 1<<bits)
	b.next = make([]int32, len(b.weak))
	for i := len(b.weak) - 1; i >= 0; i-- {
		h := b.hash(b.weak[i])
		b.next[i] = b.heads[h]
		b.heads[h] = int32(i + 1)
	}
}

// hash spreads the weak sum, whose lower bits alone are badly distributed.
func (b *basis) hash(sum uint32) uint32 { return sum * 0x9E3779B1 >> b.shift }

func (b *basis) strongOf(i int32) []byte {
	at := int(i) * int(b.sum)
	return b.strong[at : at+int(b.sum)]
}

// length of block i.
func (b *basis) lengthOf(i int32) int32 {
	if i == b.count-1 {
		return b.last()
	}
	return b.length
}
