package powercut

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"micromirror/packages/vm"
)

// digest identifies the content of an extent by what differs from the recording's
// start: the XOR of a hash of each such sector and its place. It changes with each
// sector at small cost, and back.
type digest [16]byte

func (d *digest) flip(o digest) {
	for i := range d {
		d[i] ^= o[i]
	}
}

// extent is a part of the disk, in bytes.
type extent struct{ Offset, Size int64 }

func (e extent) end() int64 { return e.Offset + e.Size }

// zeros is the source of a sector that was discarded.
const zeros = -1

// image is a recorded disk in one of its possible states. It is read like a file.
type image struct {
	d       *recorded
	sectors map[int64]int64 // what was written: sector → offset of its data in the log, or zeros
	watched []extent
	sums    []digest         // of the watched extents
	hashes  map[int64]digest // of sectors of the log, by offset
	undo    []change         // since mark
}

type change struct {
	sector, source int64
	written        bool
}

// newImage is the disk at the start of the recording. It keeps the digest of each
// watched extent.
func newImage(d *recorded, watched []extent) *image {
	return &image{d: d, sectors: map[int64]int64{}, watched: watched, sums: make([]digest, len(watched)), hashes: map[int64]digest{}}
}

// mark forgets how to undo what was done so far.
func (m *image) mark() { m.undo = m.undo[:0] }

// rollback returns to the last mark.
func (m *image) rollback() {
	for _, c := range slices.Backward(m.undo) {
		m.set(c.sector, c.source, c.written)
	}
	m.mark()
}

// apply does those sectors of a request for which keep returns true; nil is all.
func (m *image) apply(e entry, keep func() bool) {
	for n := int64(0); n < e.Size; n += sectorSize {
		if keep != nil && !keep() {
			continue
		}
		sector, source := (e.Offset+n)/sectorSize, e.Data+n
		if e.Flags&flagDiscard != 0 {
			source = zeros
		}
		old, written := m.sectors[sector]
		m.undo = append(m.undo, change{sector, old, written})
		m.set(sector, source, true)
	}
}

func (m *image) set(sector, source int64, written bool) {
	old, was := m.sectors[sector]
	for i, w := range m.watched {
		if at := sector * sectorSize; at >= w.Offset && at < w.end() {
			if was {
				m.sums[i].flip(m.hash(sector, old))
			}
			if written {
				m.sums[i].flip(m.hash(sector, source))
			}
		}
	}
	if written {
		m.sectors[sector] = source
	} else {
		delete(m.sectors, sector)
	}
}

// hash of a sector that was written; zero if that changed nothing.
func (m *image) hash(sector, source int64) digest {
	if h, ok := m.hashes[source]; ok && source != zeros {
		return h
	}
	content := m.content(source)
	var before [sectorSize]byte
	if _, err := m.d.base.ReadAt(before[:], sector*sectorSize); err == nil && string(before[:]) == string(content) {
		m.hashes[source] = digest{}
		return digest{}
	}
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(slices.Clone(content), uint64(sector)))
	h := digest(sum[:len(digest{})])
	m.hashes[source] = h
	return h
}

var blank [sectorSize]byte

func (m *image) content(source int64) []byte {
	if source == zeros {
		return blank[:]
	}
	return m.d.data[source : source+sectorSize]
}

// ReadAt reads the disk as it is in this state.
func (m *image) ReadAt(b []byte, off int64) (int, error) {
	n, err := m.d.base.ReadAt(b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, err
	}
	for at := off - off%sectorSize; at < off+int64(n); at += sectorSize {
		source, ok := m.sectors[at/sectorSize]
		if !ok {
			continue
		}
		content := m.content(source)
		if at < off {
			copy(b[:n], content[off-at:])
		} else {
			copy(b[at-off:n], content)
		}
	}
	return n, err
}

// section is a part of the disk.
func (m *image) section(e extent) *io.SectionReader { return io.NewSectionReader(m, e.Offset, e.Size) }

// extract writes a part of the disk, sparsely, to a new file.
func (m *image) extract(path string, e extent) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(e.Size); err != nil {
		return err
	}
	if err := vm.CopyData(m.d.base, f, e.Offset, e.Size); err != nil {
		return fmt.Errorf("extract %d bytes at %d: %w", e.Size, e.Offset, err)
	}
	for sector, source := range m.sectors {
		at := sector * sectorSize
		if at < e.Offset || at >= e.end() {
			continue
		}
		if _, err := f.WriteAt(m.content(source), at-e.Offset); err != nil {
			return err
		}
	}
	return nil
}
