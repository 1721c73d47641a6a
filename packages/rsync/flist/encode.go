package flist

import (
	"math/bits"

	"micromirror/packages/rsync/wire"
)

// Encoder writes a list to a receiver: Entry for each file in the order in
// which they are to be numbered or any other, then End. The receiver sorts. A
// file's name must stay valid until the next Entry has returned.
type Encoder struct {
	w      *wire.Writer
	format Format
	n      int32

	// What the entry before said.
	name     string
	mtime    int64
	mode     uint32
	uid, gid uint32

	first map[int64]int32 // since protocol 30: where a hard link group began
}

// devNumber is what stands for the device in protocols before 30; they send it
// incremented.
const devNumber = 2

// soleInode is where the inode numbers of files without links begin: protocol
// 27 wants one for each file.
const soleInode = 1 << 40

// NewEncoder writes to w, whose protocol must be the format's.
func NewEncoder(w *wire.Writer, format Format) *Encoder {
	return &Encoder{w: w, format: format, first: map[int64]int32{}}
}

// Role is what a directory is in a list; it says nothing about other files.
// Receivers delete only in those whose content they have been sent.
type Role uint8

const (
	Bare    Role = iota // without what is in it
	Inner               // with what is in it
	Top                 // the same, and named by the client
	Implied             // leads to what the client named
)

// Entry writes one file.
func (e *Encoder) Entry(f *File, role Role) error {
	flags := e.flags(f, role)
	group, linked := int32(0), false
	if flags&xHardLink != 0 && e.format.Protocol >= 30 {
		if group, linked = e.first[f.HardLink]; !linked {
			flags |= xHardFirst
			e.first[f.HardLink] = e.n
		}
	}
	e.n++
	e.writeName(f, flags)
	e.mode, e.mtime, e.uid, e.gid, e.name = f.Mode, e.wireTime(f), f.UID, f.GID, f.Name
	if linked {
		e.w.Varint(group)
		return e.w.Err()
	}
	e.attributes(f, flags)
	e.oldHardLink(f, flags)
	if e.format.hasChecksum(f.Mode) {
		sum := make([]byte, e.format.Checksum)
		copy(sum, f.Checksum)
		e.w.Write(sum)
	}
	return e.w.Err()
}

// wireTime is the time as the protocol can say it.
func (e *Encoder) wireTime(f *File) int64 {
	if e.format.Protocol < 30 {
		return int64(uint32(f.ModTime))
	}
	return f.ModTime
}

func (e *Encoder) flags(f *File, role Role) int {
	flags := 0
	if f.IsDir() {
		switch {
		case role == Top:
			flags = xTopDir
		case e.format.Protocol >= 30 && role == Bare:
			flags = xNoContent
		case e.format.Protocol >= 30 && role == Implied:
			flags = xTopDir | xNoContent
		}
	}
	flags |= e.sameFlags(f)
	if e.format.Protocol >= 31 && f.Nsec != 0 {
		flags |= xNsec
	}
	if e.format.HardLinks && !f.IsDir() && f.HardLink >= 0 && e.format.Protocol >= 28 {
		flags |= xHardLink
	}
	if e.format.hasRdev(f.Mode) && e.format.Protocol >= 28 && e.format.Protocol < 30 {
		flags |= xMinor8
	}
	return flags
}

// sameFlags says what the entry has in common with the one before. The first
// entry of all always spells out its owner and its group.
func (e *Encoder) sameFlags(f *File) int {
	flags := 0
	if f.Mode == e.mode {
		flags |= xSameMode
	}
	if !e.format.Owner || (f.UID == e.uid && e.n > 0) {
		flags |= xSameUID
	}
	if !e.format.Group || (f.GID == e.gid && e.n > 0) {
		flags |= xSameGID
	}
	if e.wireTime(f) == e.mtime {
		flags |= xSameTime
	}
	return flags
}

// writeName writes the flags and the part of the name that differs.
func (e *Encoder) writeName(f *File, flags int) {
	shared := common(e.name, f.Name)
	rest := f.Name[shared:]
	if shared > 0 {
		flags |= xSameName
	}
	if len(rest) > 255 || (flags == 0 && f.IsDir() && e.format.Protocol < 28) {
		flags |= xLongName
	}
	e.writeFlags(f, flags)
	if shared > 0 {
		e.w.Byte(byte(shared))
	}
	if flags&xLongName != 0 {
		e.w.Varint30(int32(len(rest)))
	} else {
		e.w.Byte(byte(len(rest)))
	}
	e.w.String(rest)
}

// common is how many bytes two names share at their start, 255 at most.
func common(a, b string) int {
	most := min(len(a), len(b), 255)
	n := 0
	for ; n+8 <= most; n += 8 {
		if differ := load(a[n:]) ^ load(b[n:]); differ != 0 {
			return n + bits.TrailingZeros64(differ)/8
		}
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

// load reads eight bytes at once.
func load(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// writeFlags avoids the value zero, which ends a list: a bit that says nothing
// about the type of the entry is set in its stead.
func (e *Encoder) writeFlags(f *File, flags int) {
	switch {
	case e.format.VarintFlags:
		if flags == 0 {
			flags = xExtended
		}
		e.w.Varint(int32(flags))
	case flags == 0 && !f.IsDir():
		e.w.Byte(xTopDir)
	case e.format.Protocol >= 28:
		if flags&0xFF00 != 0 || flags == 0 {
			e.w.Uint16(uint16(flags | xExtended))
			return
		}
		e.w.Byte(byte(flags))
	default:
		e.w.Byte(byte(flags))
	}
}

func (e *Encoder) attributes(f *File, flags int) {
	e.w.Varlong30(f.Size, 3)
	if flags&xSameTime == 0 {
		if e.format.Protocol >= 30 {
			e.w.Varlong(f.ModTime, 4)
		} else {
			e.w.Int32(int32(uint32(f.ModTime)))
		}
	}
	if flags&xNsec != 0 {
		e.w.Varint(int32(f.Nsec))
	}
	if flags&xSameMode == 0 {
		e.w.Int32(int32(f.Mode))
	}
	if e.format.Owner && flags&xSameUID == 0 {
		e.w.Varint30(int32(f.UID))
	}
	if e.format.Group && flags&xSameGID == 0 {
		e.w.Varint30(int32(f.GID))
	}
	if e.format.hasRdev(f.Mode) {
		e.rdev()
	}
	if e.format.Links && f.IsSymlink() {
		e.w.Varint30(int32(len(f.Link)))
		e.w.String(f.Link)
	}
}

// rdev writes the device number 0, which is all a receiver is told.
func (e *Encoder) rdev() {
	if e.format.Protocol < 28 {
		e.w.Int32(0)
		return
	}
	e.w.Varint30(0)
	e.w.Byte(0)
}

func (e *Encoder) oldHardLink(f *File, flags int) {
	p := e.format.Protocol
	if p >= 30 || !e.format.HardLinks {
		return
	}
	inode := f.HardLink + 1
	switch {
	case p >= 28 && flags&xHardLink == 0, p < 28 && !f.IsRegular():
		return
	case f.HardLink < 0:
		inode = soleInode + int64(e.n)
	}
	e.w.Longint(devNumber)
	e.w.Longint(inode)
}

// End closes the list: its end, the lists of ids (of which only the name of id
// 0 is ever told), and the I/O error.
func (e *Encoder) End(ioError int32) error {
	switch {
	case e.format.VarintFlags:
		e.w.Varint(0)
		e.w.Varint(ioError)
	case ioError != 0 && e.format.SafeList:
		e.w.Uint16(xExtended | xEndWithError)
		e.w.Varint(ioError)
	default:
		e.w.Byte(0)
	}
	for _, on := range []bool{e.format.Owner, e.format.Group} {
		if !on || e.format.NumericIDs {
			continue
		}
		e.w.Varint30(0)
		if e.format.ID0Names {
			e.w.Byte(4)
			e.w.String("root")
		}
	}
	if e.format.Protocol < 30 {
		e.w.Int32(ioError)
	}
	return e.w.Err()
}
