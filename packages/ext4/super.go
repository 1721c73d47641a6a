package ext4

import (
	"errors"
	"fmt"
)

// super is what the superblock says.
type super struct {
	raw        []byte
	blocks     int64
	inodes     uint32
	perGroup   uint32 // inodes of a group
	firstInode uint32 // that is free
	seed       uint32
	reserved   int64 // blocks kept for descriptors of a larger file system
}

// group is a block group's descriptor.
type group []byte

func (g group) word(lo, hi int) int64 { return int64(le.Uint32(g[lo:])) | int64(le.Uint32(g[hi:]))<<32 }
func (g group) half(lo, hi int) uint32 {
	return uint32(le.Uint16(g[lo:])) | uint32(le.Uint16(g[hi:]))<<16
}
func (g group) setHalf(lo, hi int, n uint32) {
	le.PutUint16(g[lo:], uint16(n))
	le.PutUint16(g[hi:], uint16(n>>16))
}

func (g group) blockBitmap() int64     { return g.word(0, 32) }
func (g group) inodeBitmap() int64     { return g.word(4, 36) }
func (g group) inodeTable() int64      { return g.word(8, 40) }
func (g group) freeBlocks() uint32     { return g.half(12, 44) }
func (g group) setFreeBlocks(n uint32) { g.setHalf(12, 44, n) }
func (g group) freeInodes() uint32     { return g.half(14, 46) }
func (g group) setFreeInodes(n uint32) { g.setHalf(14, 46, n) }
func (g group) dirs() uint32           { return g.half(16, 48) }
func (g group) setDirs(n uint32)       { g.setHalf(16, 48, n) }
func (g group) flags() uint16          { return le.Uint16(g[18:]) }
func (g group) setFlags(n uint16)      { le.PutUint16(g[18:], n) }
func (g group) setBlockSum(n uint32)   { g.setHalf(24, 56, n) }
func (g group) setInodeSum(n uint32)   { g.setHalf(26, 58, n) }
func (g group) setUnused(n uint32)     { g.setHalf(28, 50, n) }

// descSum is where a descriptor has its own checksum.
const descSum = 30

func (f *filler) load() error {
	s := &f.super
	s.raw = make([]byte, superSize)
	if _, err := f.Image.ReadAt(s.raw, superOffset); err != nil {
		return err
	}
	if err := supported(s.raw); err != nil {
		return err
	}
	s.blocks = int64(le.Uint32(s.raw[sbBlocks:])) | int64(le.Uint32(s.raw[sbBlocksHi:]))<<32
	s.inodes, s.perGroup = le.Uint32(s.raw[sbInodes:]), le.Uint32(s.raw[sbInodesGroup:])
	s.seed, s.reserved = le.Uint32(s.raw[sbSeed:]), int64(le.Uint16(s.raw[sbReservedGDT:]))
	s.firstInode = s.inodes - le.Uint32(s.raw[sbFreeInodes:]) + 1 // an empty one has used the first
	descs := make([]byte, f.groupCount()*descSize)
	if _, err := f.Image.ReadAt(descs, BlockSize); err != nil {
		return fmt.Errorf("group descriptors: %w", err)
	}
	for i := range f.groupCount() {
		f.groups = append(f.groups, descs[i*descSize:(i+1)*descSize])
	}
	f.blocks = allocator{f: f, group: -1}
	return nil
}

func (f *filler) groupCount() int64 { return (f.super.blocks + blocksPerGroup - 1) / blocksPerGroup }

// descBlocks is how many blocks the descriptors take.
func (f *filler) descBlocks() int64 { return blocksOf(f.groupCount() * descSize) }

// supported refuses what this package does not know.
func supported(sb []byte) error {
	const need = incompatExtents | incompat64Bit | incompatCsumSeed
	incompat := le.Uint32(sb[sbIncompat:])
	switch {
	case le.Uint16(sb[sbMagic:]) != superMagic:
		return errors.New("no ext4 file system")
	case 1024<<le.Uint32(sb[sbLogBlock:]) != BlockSize || le.Uint16(sb[sbInodeSize:]) != inodeSize,
		le.Uint32(sb[sbPerGroup:]) != blocksPerGroup || le.Uint16(sb[sbDescSize:]) != descSize:
		return errors.New("its blocks, groups or inodes have another size")
	case incompat&need != need || incompat&incompatMetaBG != 0 || le.Uint32(sb[sbROCompat:])&roMetadataCsum == 0:
		return errors.New("it was made with other features")
	}
	return nil
}

// store writes what has changed of the groups, and the superblock.
func (f *filler) store() error {
	if err := f.blocks.close(); err != nil {
		return err
	}
	var blocks, inodes int64
	descs := make([]byte, 0, len(f.groups)*descSize)
	for i, g := range f.groups {
		blocks += int64(g.freeBlocks())
		inodes += int64(g.freeInodes())
		le.PutUint16(g[descSum:], 0)
		le.PutUint16(g[descSum:], uint16(crc(crc32of(f.super.seed, uint32(i)), g)))
		descs = append(descs, g...)
	}
	if _, err := f.Image.WriteAt(descs, BlockSize); err != nil {
		return err
	}
	sb := f.super.raw
	le.PutUint32(sb[sbFreeBlocks:], uint32(blocks))
	le.PutUint32(sb[sbFreeHi:], uint32(blocks>>32))
	le.PutUint32(sb[sbFreeInodes:], uint32(inodes))
	le.PutUint32(sb[sbChecksum:], crc(^uint32(0), sb[:sbChecksum]))
	_, err := f.Image.WriteAt(sb, superOffset)
	return err
}

// markInodes marks the inodes up to the last as used.
func (f *filler) markInodes(last uint32) error {
	per := f.super.perGroup
	for i, g := range f.groups {
		first := uint32(i) * per // number of inodes before this group's
		if last <= first && i > 0 {
			break
		}
		used := min(last-first, per)
		if used <= per-g.freeInodes() {
			continue // as mke2fs left it
		}
		bitmap := make([]byte, BlockSize)
		for n := range bitmap {
			bitmap[n] = 0xff // also what lies behind the group's own
		}
		for n := used; n < per; n++ {
			bitmap[n/8] &^= 1 << (n % 8)
		}
		if _, err := f.Image.WriteAt(bitmap, g.inodeBitmap()*BlockSize); err != nil {
			return err
		}
		g.setInodeSum(crc(f.super.seed, bitmap[:per/8]))
		g.setFreeInodes(per - used)
		g.setUnused(per - used)
		g.setFlags(g.flags() &^ uninitInodes)
	}
	return nil
}
