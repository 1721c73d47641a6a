package ext4

import (
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// Facts about the format, from the kernel's documentation of ext4's data
// structures. Offsets are in bytes.
const (
	superOffset = 1024
	superSize   = 1024
	superMagic  = 0xef53

	sbInodes      = 0x00
	sbBlocks      = 0x04
	sbFreeBlocks  = 0x0c
	sbFreeInodes  = 0x10
	sbLogBlock    = 0x18
	sbPerGroup    = 0x20
	sbInodesGroup = 0x28
	sbMagic       = 0x38
	sbFirstInode  = 0x54
	sbInodeSize   = 0x58
	sbIncompat    = 0x60
	sbROCompat    = 0x64
	sbReservedGDT = 0xce
	sbDescSize    = 0xfe
	sbBlocksHi    = 0x150
	sbFreeHi      = 0x158
	sbSeed        = 0x270
	sbChecksum    = 0x3fc

	incompatExtents  = 0x40
	incompat64Bit    = 0x80
	incompatMetaBG   = 0x10
	incompatCsumSeed = 0x2000
	roMetadataCsum   = 0x400

	blocksPerGroup = 8 * BlockSize
	descSize       = 64
	inodeSize      = 256
	rootInode      = 2
	maxName        = 255

	uninitInodes = 1 // of a group's flags
	uninitBlocks = 2

	typeMask = 0o170000
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

var le = binary.LittleEndian

// crc goes on with a checksum as ext4 keeps them: CRC-32C without the inversions
// at its ends.
func crc(sum uint32, data []byte) uint32 {
	return ^crc32.Update(^sum, crc32.MakeTable(crc32.Castagnoli), data)
}

func crc32of(sum, n uint32) uint32 {
	var b [4]byte
	le.PutUint32(b[:], n)
	return crc(sum, b[:])
}

func blocksOf(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// cleanName says whether a directory can hold the name.
func cleanName(name string) bool { return !strings.ContainsAny(name, "/\x00") }

// hasSuper says whether a group has a copy of the superblock: 0, 1 and the powers
// of 3, 5 and 7.
func hasSuper(group int64) bool {
	if group <= 1 {
		return true
	}
	for _, base := range []int64{3, 5, 7} {
		n := group
		for n%base == 0 {
			n /= base
		}
		if n == 1 {
			return true
		}
	}
	return false
}
