package ext4

import "errors"

// Facts about directories.
const (
	entryHead  = 8
	tailSize   = 12
	tailType   = 0xde
	roomForAll = BlockSize - tailSize
)

// entry is a name in a directory.
type entry struct {
	ino  uint32
	kind byte
	name string
}

func (e entry) size() int { return (entryHead + len(e.name) + 3) &^ 3 }

// kindOf is what a directory says about an inode of that mode.
func kindOf(mode uint32) byte {
	switch mode & typeMask {
	case typeDir:
		return 2
	case typeLink:
		return 7
	default:
		return 1
	}
}

// directory makes a directory of the node's children.
func (f *filler) directory(i int) error {
	ino := f.inodes[i]
	var names []entry
	for _, k := range f.kids[i] {
		names = append(names, entry{f.inodes[k], kindOf(f.Nodes[k].Mode), f.Nodes[k].Name})
	}
	f.kids[i] = nil
	if i == Root {
		return f.root(names)
	}
	parent := f.inodes[f.Nodes[i].Parent]
	blocks := f.pack(ino, append([]entry{{ino, 2, "."}, {parent, 2, ".."}}, names...))
	runs, err := f.blocks.take(int64(len(blocks)))
	if err != nil {
		return err
	}
	c, err := f.extents(ino, int64(len(blocks))*BlockSize, runs)
	if err != nil {
		return err
	}
	for _, r := range runs {
		for n := range r.count {
			if _, err := f.Image.WriteAt(blocks[n], (r.first+n)*BlockSize); err != nil {
				return err
			}
		}
		blocks = blocks[r.count:]
	}
	g := f.groups[(ino-1)/f.super.perGroup]
	g.setDirs(g.dirs() + 1)
	return f.write(i, c)
}

// pack lays entries out in blocks.
func (f *filler) pack(ino uint32, names []entry) [][]byte {
	var blocks [][]byte
	var b []byte
	at, last := 0, 0
	for _, e := range names {
		if b == nil || at+e.size() > roomForAll {
			f.seal(ino, b, last)
			b, at = make([]byte, BlockSize), 0
			blocks = append(blocks, b)
		}
		last = at
		le.PutUint32(b[at:], e.ino)
		le.PutUint16(b[at+4:], uint16(e.size()))
		b[at+6], b[at+7] = byte(len(e.name)), e.kind
		copy(b[at+entryHead:], e.name)
		at += e.size()
	}
	f.seal(ino, b, last)
	return blocks
}

// seal lets the last entry reach to the end of the block, and adds the checksum.
func (f *filler) seal(ino uint32, b []byte, last int) {
	if b == nil {
		return
	}
	le.PutUint16(b[last+4:], uint16(roomForAll-last))
	le.PutUint16(b[roomForAll+4:], tailSize)
	b[roomForAll+7] = tailType
	le.PutUint32(b[roomForAll+8:], crc(f.inodeSeed(ino), b[:roomForAll]))
}

// root adds names to the root directory, which mke2fs made in one block.
func (f *filler) root(names []entry) error {
	inode := make([]byte, inodeSize)
	if _, err := f.Image.ReadAt(inode, f.inodeAt(rootInode)); err != nil {
		return err
	}
	extent := inode[iBlock+extentSize:]
	block := int64(le.Uint32(extent[8:])) | int64(le.Uint16(extent[6:]))<<32
	b := make([]byte, BlockSize)
	if _, err := f.Image.ReadAt(b, block*BlockSize); err != nil {
		return err
	}
	old, err := unpack(b)
	if err != nil {
		return err
	}
	blocks := f.pack(rootInode, append(old, names...))
	if len(blocks) != 1 {
		return errors.New("the root directory cannot hold so many names")
	}
	if _, err := f.Image.WriteAt(blocks[0], block*BlockSize); err != nil {
		return err
	}
	le.PutUint16(inode[iLinks:], le.Uint16(inode[iLinks:])+uint16(f.links[Root]))
	return f.putInode(rootInode, inode)
}

// unpack reads the entries of a block of a directory.
func unpack(b []byte) ([]entry, error) {
	var out []entry
	for at := 0; at < roomForAll; {
		size, n := int(le.Uint16(b[at+4:])), int(b[at+6])
		if size < entryHead+n || at+size > roomForAll {
			return nil, errors.New("the root directory is damaged")
		}
		if ino := le.Uint32(b[at:]); ino != 0 {
			out = append(out, entry{ino, b[at+7], string(b[at+entryHead : at+entryHead+n])})
		}
		at += size
	}
	return out, nil
}
