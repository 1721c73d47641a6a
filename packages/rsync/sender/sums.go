package sender

import (
	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/delta"
	"micromirror/packages/rsync/wire"
)

// Bounds of what a client may say about its old version of a file. A version
// described beyond them is not compared: the file is sent whole.
const (
	maxCompared = 1 << 20  // largest block that we compare
	maxBlocks   = 4 << 20  // blocks that we remember
	maxStrong   = 48 << 20 // bytes of their strong sums
	maxChain    = 1 << 10  // blocks with the same weak sum that are looked at
)

// basis is a client's old version: the sums of its blocks, found by weak sum.
type basis struct {
	delta.Head
	weak   []uint32
	strong []byte
	heads  []int32 // by hash of the weak sum: 1 + the first block
	next   []int32 // 1 + the next block with the same hash
	shift  uint
	sums   checksum.Sums
	taken  int64 // of the account
}

// readBasis reads the sums that follow a head. It returns nil if there is
// nothing to compare with or no memory for it.
func readBasis(r *wire.Reader, h delta.Head, sums checksum.Sums, a *Account) *basis {
	sum := int64(h.SumLen)
	if h.Count > maxBlocks || int64(h.Count)*sum > maxStrong || h.BlockLen > maxCompared || sum == 0 {
		r.Skip(int64(h.Count) * (4 + sum))
		return nil
	}
	if h.Count == 0 {
		return nil
	}
	b := &basis{Head: h, sums: sums}
	const step = 4096 // blocks that memory is taken for before they have come
	for i := int32(0); i < h.Count && r.Err() == nil; i++ {
		if i%step == 0 && !b.grow(int(min(step, h.Count-i)), a) {
			b.release(a)
			r.Skip(int64(h.Count-i) * (4 + sum))
			return nil
		}
		b.weak = append(b.weak, uint32(r.Int32()))
		at := len(b.strong)
		b.strong = b.strong[:at+int(sum)]
		r.Full(b.strong[at:])
	}
	if r.Err() != nil {
		b.release(a)
		return nil
	}
	b.index()
	return b
}

// grow makes room for n more blocks, if the account allows: for twice what they
// take, because slices double, and for their part of the hash table.
func (b *basis) grow(n int, a *Account) bool {
	need := int64(n) * (2*(4+int64(b.SumLen)) + 4 + 16)
	if a.Take(need) != nil {
		return false
	}
	b.taken += need
	b.weak = doubled(b.weak, n)
	b.strong = doubled(b.strong, n*int(b.SumLen))
	return true
}

func (b *basis) release(a *Account) {
	if b != nil {
		a.Give(b.taken)
		b.taken = 0
	}
}

// doubled makes room for n more elements; what grows to the size that a client
// announced is doubled, not taken at once.
func doubled[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return append(make([]T, 0, max(2*len(s), len(s)+n)), s...)
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
	at := int(i) * int(b.SumLen)
	return b.strong[at : at+int(b.SumLen)]
}
