// Package checksum computes the sums that rsync's protocol is built on.
//
// Three kinds, each with its own rules about the seed that the server chose:
//
//   - Weak: a sum of 32 bits over a block that can be rolled along a file;
//   - Block: the strong sum of a block, seeded;
//   - New: the sum over a whole transferred file. MD4 before protocol 30 puts
//     the seed in front; MD5 and the xxh family ignore it.
//
// Facts (rsync's checksum.c, compat.c): protocols 27 to 29 use MD4, 30 and 31
// MD5, and both sides of rsync 3.2 and later negotiate: each sends the names it
// knows, strongest first. Block sums append the seed to the data, except that
// MD5 puts it in front if the compatibility flags say so (MD4 never does, unless
// the peer's OpenSSL computes it: then no block matches, and data is sent); xxh takes it as its
// own seed, extended with its sign. Digests of xxh are little endian, low half
// first.
package checksum

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/zeebo/xxh3"
	"golang.org/x/crypto/md4" //lint:ignore SA1019 the protocol demands it
)

// MaxSize is the length of the longest digest.
const MaxSize = 16

// names are the sums that can be negotiated, best first.
func names() []string { return []string{"xxh128", "xxh3", "xxh64", "md5", "md4"} }

// Names is what a side offers in negotiation.
func Names() string { return strings.Join(names(), " ") }

// Choose gives the best sum that is also in the peer's list. only, if not
// empty, restricts the choice.
func Choose(theirs string, only []string) (string, error) {
	ours := names()
	if len(only) > 0 {
		ours = only
	}
	for _, name := range ours {
		for other := range strings.FieldsSeq(theirs) {
			if other == name || (other == "xxhash" && name == "xxh64") {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("choose checksum: peer offers %.100q, we know %q", theirs, strings.Join(ours, " "))
}

// Sums is what the two sides have agreed on.
type Sums struct {
	name      string
	seed      int32
	seedFirst bool // MD5 blocks: seed before the data
	seedFile  bool // MD4 before protocol 30: files are seeded too
}

// Negotiated makes the sums of a name that Choose gave.
func Negotiated(name string, seed int32, seedFirst bool) Sums {
	return Sums{name: name, seed: seed, seedFirst: seedFirst && name == "md5"}
}

// ForProtocol makes the sums of a peer that does not negotiate.
func ForProtocol(protocol int, seed int32, seedFirst bool) Sums {
	if protocol >= 30 {
		return Sums{name: "md5", seed: seed, seedFirst: seedFirst}
	}
	return Sums{name: "md4", seed: seed, seedFile: true}
}

// Name is the name of the sum.
func (s Sums) Name() string { return s.name }

// Size is the length of a digest.
func (s Sums) Size() int {
	if s.name == "xxh3" || s.name == "xxh64" {
		return 8
	}
	return 16
}

// New starts the sum of a file.
func (s Sums) New() hash.Hash {
	switch s.name {
	case "xxh128":
		return &xxh128{xxh3.New()}
	case "xxh3":
		return &xxh64{xxh3.New()}
	case "xxh64":
		return &xxh64{xxhash.New()}
	case "md5":
		return md5.New()
	}
	h := md4.New()
	if s.seedFile {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(s.seed)))
	}
	return h
}

// ForList starts the sum of a file as it stands in a file list: never seeded.
func (s Sums) ForList() hash.Hash {
	s.seedFile = false
	return s.New()
}

// Block appends the strong sum of a block to out.
func (s Sums) Block(out, data []byte) []byte {
	seed := uint64(int64(s.seed))
	switch s.name {
	case "xxh128":
		v := xxh3.Hash128Seed(data, seed)
		return appendSum(out, v.Lo, v.Hi)
	case "xxh3":
		return binary.LittleEndian.AppendUint64(out, xxh3.HashSeed(data, seed))
	case "xxh64":
		h := xxhash.NewWithSeed(seed)
		h.Write(data)
		return binary.LittleEndian.AppendUint64(out, h.Sum64())
	case "md5":
		return s.seeded(md5.New(), out, data)
	}
	return s.seeded(md4.New(), out, data)
}

// seeded hashes the data and the seed, which is left out if it is zero.
func (s Sums) seeded(h hash.Hash, out, data []byte) []byte {
	var seed []byte
	if s.seed != 0 {
		seed = binary.LittleEndian.AppendUint32(nil, uint32(s.seed))
	}
	if s.seedFirst {
		h.Write(seed)
		seed = nil
	}
	h.Write(data)
	h.Write(seed)
	return h.Sum(out)
}

func appendSum(out []byte, lo, hi uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(out, lo), hi)
}

// xxh128 gives the digest in rsync's byte order.
type xxh128 struct{ *xxh3.Hasher }

func (x *xxh128) Size() int { return 16 }

func (x *xxh128) Sum(b []byte) []byte {
	v := x.Sum128()
	return appendSum(b, v.Lo, v.Hi)
}

// xxh64 gives 64-bit digests in rsync's byte order.
type xxh64 struct{ hash.Hash64 }

func (x *xxh64) Sum(b []byte) []byte { return binary.LittleEndian.AppendUint64(b, x.Sum64()) }

// Rolling is a weak sum that moves along a file.
type Rolling struct{ s1, s2, size uint32 }

// NewRolling starts with a block.
func NewRolling(block []byte) Rolling {
	sum := Weak(block)
	return Rolling{sum & 0xFFFF, sum >> 16, uint32(len(block))}
}

// Sum is the weak sum of the block as it now is.
func (r *Rolling) Sum() uint32 { return r.s1&0xFFFF | r.s2<<16 }

// Roll drops the block's first byte, out, and takes on in behind its last.
func (r *Rolling) Roll(out, in byte) {
	r.s1 += signed(in) - signed(out)
	r.s2 += r.s1 - r.size*signed(out)
}

// Drop makes the block shorter by its first byte, out.
func (r *Rolling) Drop(out byte) {
	r.s1 -= signed(out)
	r.s2 -= r.size * signed(out)
	r.size--
}
