package flist

import (
	"fmt"

	"micromirror/packages/rsync/wire"
)

// Decoder reads a list from a sender.
type Decoder struct {
	r      *wire.Reader
	format Format
	b      *Builder

	// What the entry before said.
	name     []byte
	mtime    int64
	mode     uint32
	uid, gid uint32
	dev      int64
}

// NewDecoder reads from r, whose protocol must be the format's.
func NewDecoder(r *wire.Reader, format Format, limits Limits) *Decoder {
	return &Decoder{r: r, format: format, b: NewBuilder(limits)}
}

// Len is the number of entries read so far.
func (d *Decoder) Len() int { return d.b.Len() }

// Decode reads the whole list, with the ids and the I/O error that follow it.
func (d *Decoder) Decode() (*List, error) {
	for {
		flags, more := d.flags()
		if err := d.r.Err(); err != nil {
			return nil, fmt.Errorf("read file list: %w", err)
		}
		if !more {
			break
		}
		if err := d.entry(flags); err != nil {
			return nil, fmt.Errorf("read file list, entry %d: %w", d.b.Len(), err)
		}
	}
	d.ids()
	if d.format.Protocol < 30 {
		d.b.list.IOError |= d.r.Int32() & wire.IOErrMask
	}
	if err := d.r.Err(); err != nil {
		return nil, fmt.Errorf("read end of file list: %w", err)
	}
	list, err := d.b.Finish()
	if err != nil {
		return nil, fmt.Errorf("read file list: %w", err)
	}
	return list, nil
}

// flags reads the flags of the next entry; more is false at the end.
func (d *Decoder) flags() (flags int, more bool) {
	if d.format.VarintFlags {
		flags = int(d.r.Varint())
		if flags == 0 {
			d.b.list.IOError |= d.r.Varint() & wire.IOErrMask
		}
		return flags, flags != 0
	}
	flags = int(d.r.Byte())
	if d.format.Protocol >= 28 && flags&xExtended != 0 {
		flags |= int(d.r.Byte()) << 8
	}
	if flags == xExtended|xEndWithError && d.format.SafeList {
		d.b.list.IOError |= d.r.Varint() & wire.IOErrMask
		return 0, false
	}
	return flags, flags != 0
}

func (d *Decoder) entry(flags int) error {
	d.readName(flags)
	if err := d.r.Err(); err != nil {
		return err
	}
	f := File{Name: string(d.name), HardLink: NoHardLink}
	if err := checkName(f.Name); err != nil {
		return err
	}
	id := [2]int64{}
	if d.format.Protocol >= 30 && flags&xHardLink != 0 && d.format.HardLinks {
		first := int64(d.b.Len())
		if flags&xHardFirst == 0 {
			first = d.r.Bounded(int64(d.r.Varint()), 0, first-1, "hard link reference")
			if err := d.r.Err(); err != nil {
				return err
			}
			return d.hardLinked(&f, first)
		}
		f.HardLink, id[1] = first, first
	}
	d.attributes(&f, flags)
	d.oldHardLink(&f, flags, &id)
	if d.format.hasChecksum(f.Mode) {
		f.Checksum = d.bytes(d.format.Checksum)
	}
	if err := d.r.Err(); err != nil {
		return err
	}
	_, err := d.b.add(&f, id)
	return err
}

// readName puts the name together from what it shares with the one before.
func (d *Decoder) readName(flags int) {
	shared, rest := 0, 0
	if flags&xSameName != 0 {
		shared = int(d.r.Byte())
	}
	if flags&xLongName != 0 {
		rest = int(d.r.Bounded(int64(d.r.Varint30()), 0, maxPath-256, "length of name"))
	} else {
		rest = int(d.r.Byte())
	}
	shared = int(d.r.Bounded(int64(shared), 0, int64(len(d.name)), "shared part of name"))
	d.name = append(d.name[:shared], make([]byte, rest)...)
	d.r.Full(d.name[shared:])
}

// hardLinked adds an entry of which only the name was sent.
func (d *Decoder) hardLinked(f *File, first int64) error {
	e := d.b.list.entry(int(first))
	if e.isDir() {
		return fmt.Errorf("%q: hard link to a directory: %w", f.Name, ErrEntry)
	}
	f.Mode, f.Size, f.ModTime, f.Nsec = uint32(e.mode), e.size, e.mtime, e.nsec
	f.Link, f.Checksum = d.b.list.ofType(e, ModeSymlink), d.b.list.ofType(e, ModeRegular)
	f.HardLink = first
	d.mode, d.mtime = f.Mode, f.ModTime
	_, err := d.b.add(f, [2]int64{0, first})
	return err
}

// attributes reads the fields of an entry from size to link target.
func (d *Decoder) attributes(f *File, flags int) {
	f.Size = d.r.Varlong30(3)
	if flags&xSameTime == 0 {
		d.mtime = d.time()
	}
	f.ModTime = d.mtime
	if flags&xNsec != 0 && d.format.Protocol >= 31 {
		f.Nsec = uint32(d.r.Bounded(int64(d.r.Varint()), 0, 999_999_999, "nanoseconds"))
	}
	if flags&xSameMode == 0 {
		d.mode = uint32(d.r.Int32())
	}
	f.Mode = d.mode
	if d.format.Owner && flags&xSameUID == 0 {
		d.uid = d.id(flags&xUserName != 0)
	}
	if d.format.Group && flags&xSameGID == 0 {
		d.gid = d.id(flags&xGroupName != 0)
	}
	if d.format.hasRdev(f.Mode) {
		d.rdev(flags)
		f.Size = 0
	}
	if d.format.Links && f.IsSymlink() {
		n := d.r.Bounded(int64(d.r.Varint30()), 0, maxPath-1, "length of link target")
		f.Link = d.bytes(int(n))
	}
}

func (d *Decoder) time() int64 {
	if d.format.Protocol >= 30 {
		return d.r.Varlong(4)
	}
	return int64(uint32(d.r.Int32()))
}

func (d *Decoder) id(named bool) uint32 {
	if d.format.Protocol < 30 {
		return uint32(d.r.Int32())
	}
	id := uint32(d.r.Varint())
	if named {
		d.r.Skip(int64(d.r.Byte()))
	}
	return id
}

// rdev passes over a device number: devices are never made.
func (d *Decoder) rdev(flags int) {
	if d.format.Protocol < 28 {
		if flags&xSameRdevOld == 0 {
			d.r.Int32()
		}
		return
	}
	if flags&xSameMajor == 0 {
		d.r.Varint30()
	}
	switch {
	case d.format.Protocol >= 30:
		d.r.Varint()
	case flags&xMinor8 != 0:
		d.r.Byte()
	default:
		d.r.Int32()
	}
}

// oldHardLink reads the device and inode that protocols before 30 send: 28 and
// 29 for files with several links, 27 for every regular file.
func (d *Decoder) oldHardLink(f *File, flags int, id *[2]int64) {
	p := d.format.Protocol
	if p >= 30 || !d.format.HardLinks || (p >= 28 && flags&xHardLink == 0) || (p < 28 && !f.IsRegular()) {
		return
	}
	if p < 28 || flags&xSameDev == 0 {
		d.dev = d.r.Longint()
	}
	id[0], id[1] = d.dev, d.r.Longint()
	f.HardLink = 0
}

func (d *Decoder) bytes(n int) string {
	b := make([]byte, n)
	d.r.Full(b)
	return string(b)
}

// ids passes over the lists that name users and groups.
func (d *Decoder) ids() {
	for _, on := range []bool{d.format.Owner, d.format.Group} {
		if !on || d.format.NumericIDs {
			continue
		}
		for d.r.Varint30() != 0 && d.r.Err() == nil {
			d.r.Skip(int64(d.r.Byte()))
		}
		if d.format.ID0Names {
			d.r.Skip(int64(d.r.Byte()))
		}
	}
}
