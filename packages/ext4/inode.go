package ext4

import (
	"errors"
	"fmt"
	"io"
)

// Facts about inodes and extents.
const (
	extentsFlag   = 0x80000
	extentMagic   = 0xf30a
	extentSize    = 12 // of the header, too
	inInode       = 4  // extents that an inode holds itself
	inBlock       = (BlockSize - extentSize - 4) / extentSize
	extraSize     = 32
	iBlock        = 40
	iBlockSize    = 60
	iLinks        = 26
	iChecksumLow  = 0x7c
	iChecksumHigh = 0x82
	maxLinks      = 65000
)

// content is the part of an inode that says where its data is.
type content struct {
	size   int64
	blocks int64 // with those of extents
	flags  uint32
	where  [iBlockSize]byte
}

// write writes the inode of a node.
func (f *filler) write(i int, c content) error {
	n, b := &f.Nodes[i], make([]byte, inodeSize)
	le.PutUint16(b[0:], uint16(n.Mode))
	le.PutUint16(b[2:], uint16(n.UID))
	le.PutUint32(b[4:], uint32(c.size))
	for _, at := range []int{8, 12, 16, 0x90} { // accessed, changed, modified, made
		le.PutUint32(b[at:], uint32(n.Sec))
	}
	le.PutUint16(b[24:], uint16(n.GID))
	links := f.links[i]
	if links > maxLinks && n.Mode&typeMask == typeDir {
		links = 1 // too many to count
	}
	if links > maxLinks {
		return fmt.Errorf("it has %d names, ext4 knows at most %d", links, maxLinks)
	}
	le.PutUint16(b[iLinks:], uint16(links))
	le.PutUint32(b[28:], uint32(c.blocks*(BlockSize/512)))
	le.PutUint32(b[32:], c.flags)
	copy(b[iBlock:], c.where[:])
	le.PutUint32(b[0x6c:], uint32(c.size>>32))
	le.PutUint16(b[0x74:], uint16(c.blocks*(BlockSize/512)>>32))
	le.PutUint16(b[0x78:], uint16(n.UID>>16))
	le.PutUint16(b[0x7a:], uint16(n.GID>>16))
	le.PutUint16(b[0x80:], extraSize)
	extra := n.Nsec<<2 | uint32((n.Sec-int64(int32(n.Sec)))>>32)&3
	for _, at := range []int{0x84, 0x88, 0x8c, 0x94} {
		le.PutUint32(b[at:], extra)
	}
	return f.putInode(f.inodes[i], b)
}

// inodeAt is the offset of an inode.
func (f *filler) inodeAt(ino uint32) int64 {
	group, index := (ino-1)/f.super.perGroup, (ino-1)%f.super.perGroup
	return f.groups[group].inodeTable()*BlockSize + int64(index)*inodeSize
}

func (f *filler) putInode(ino uint32, b []byte) error {
	le.PutUint16(b[iChecksumLow:], 0)
	le.PutUint16(b[iChecksumHigh:], 0)
	sum := crc(f.inodeSeed(ino), b)
	le.PutUint16(b[iChecksumLow:], uint16(sum))
	le.PutUint16(b[iChecksumHigh:], uint16(sum>>16))
	_, err := f.Image.WriteAt(b, f.inodeAt(ino))
	return err
}

// inodeSeed begins the checksums of an inode of generation 0, and of its blocks.
func (f *filler) inodeSeed(ino uint32) uint32 { return crc32of(crc32of(f.super.seed, ino), 0) }

// extents lists the pieces of a file in its inode, or in blocks of their own.
func (f *filler) extents(ino uint32, size int64, runs []run) (content, error) {
	c := content{size: size, flags: extentsFlag}
	for _, r := range runs {
		c.blocks += r.count
	}
	if len(runs) <= inInode {
		putExtents(c.where[:], inInode, runs, 0)
		return c, nil
	}
	logical, entry := int64(0), c.where[extentSize:]
	leaves := 0
	for ; len(runs) > 0; leaves++ {
		if leaves == inInode {
			return c, fmt.Errorf("it is in more than %d pieces", inInode*inBlock)
		}
		some := runs[:min(inBlock, len(runs))]
		block, err := f.leaf(ino, some, logical)
		if err != nil {
			return c, err
		}
		le.PutUint32(entry[0:], uint32(logical))
		le.PutUint32(entry[4:], uint32(block))
		le.PutUint16(entry[8:], uint16(block>>32))
		for _, r := range some {
			logical += r.count
		}
		entry, runs = entry[extentSize:], runs[len(some):]
		c.blocks++
	}
	putHeader(c.where[:], leaves, inInode, 1)
	return c, nil
}

// leaf writes a block of extents.
func (f *filler) leaf(ino uint32, runs []run, logical int64) (int64, error) {
	own, err := f.blocks.take(1)
	if err != nil {
		return 0, err
	}
	b := make([]byte, BlockSize)
	putExtents(b, inBlock, runs, logical)
	end := extentSize * (1 + inBlock)
	le.PutUint32(b[end:], crc(f.inodeSeed(ino), b[:end]))
	_, err = f.Image.WriteAt(b, own[0].first*BlockSize)
	return own[0].first, err
}

func putHeader(b []byte, entries, room, depth int) {
	le.PutUint16(b[0:], extentMagic)
	le.PutUint16(b[2:], uint16(entries))
	le.PutUint16(b[4:], uint16(room))
	le.PutUint16(b[6:], uint16(depth))
}

func putExtents(b []byte, room int, runs []run, logical int64) {
	putHeader(b, len(runs), room, 0)
	for i, r := range runs {
		e := b[extentSize*(1+i):]
		le.PutUint32(e[0:], uint32(logical))
		le.PutUint16(e[4:], uint16(r.count))
		le.PutUint16(e[6:], uint16(r.first>>32))
		le.PutUint32(e[8:], uint32(r.first))
		logical += r.count
	}
}

// link makes a symbolic link; a short target lies in the inode.
func (f *filler) link(i int) error {
	target := f.Nodes[i].Target
	if target == "" || len(target) >= BlockSize {
		return fmt.Errorf("a link with a target of %d bytes", len(target))
	}
	if len(target) < iBlockSize {
		c := content{size: int64(len(target))}
		copy(c.where[:], target)
		return f.write(i, c)
	}
	runs, err := f.blocks.take(1)
	if err != nil {
		return err
	}
	b := make([]byte, BlockSize)
	copy(b, target)
	if _, err := f.Image.WriteAt(b, runs[0].first*BlockSize); err != nil {
		return err
	}
	c, err := f.extents(f.inodes[i], int64(len(target)), runs)
	if err != nil {
		return err
	}
	return f.write(i, c)
}

// file makes a file and copies its content.
func (f *filler) file(i int) error {
	size := f.Nodes[i].Size
	runs, err := f.blocks.take(blocksOf(size))
	if err != nil {
		return err
	}
	c, err := f.extents(f.inodes[i], size, runs)
	if err != nil {
		return err
	}
	if err := f.copy(i, size, runs); err != nil {
		return err
	}
	return f.write(i, c)
}

// copy writes the content of a file to its blocks.
func (f *filler) copy(i int, size int64, runs []run) (err error) {
	if size == 0 {
		return nil
	}
	in, err := f.Open(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for _, r := range runs {
		for at, end := r.first*BlockSize, (r.first+r.count)*BlockSize; at < end; {
			b := f.buf[:min(int64(len(f.buf)), end-at)]
			n := min(int64(len(b)), size)
			if _, err := io.ReadFull(in, b[:n]); err != nil {
				return fmt.Errorf("it ends too early: %w", err)
			}
			clear(b[n:])
			if err := f.ctx.Err(); err != nil {
				return err
			}
			if _, err := f.Content.WriteAt(b, at); err != nil {
				return err
			}
			f.span(at, int64(len(b)))
			at, size = at+int64(len(b)), size-n
		}
	}
	return nil
}

// span notes where content lies.
func (f *filler) span(at, n int64) {
	if last := len(f.spans) - 1; last >= 0 && f.spans[last].Offset+f.spans[last].Length == at {
		f.spans[last].Length += n
		return
	}
	f.spans = append(f.spans, Span{at, n})
}
