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

// Sources of a sector that is not in the log: discarded, or never written.
const (
	zeros     = -1
	unwritten = 0
)

// image is a recorded disk in one of its possible states. It is read like a file.
type image struct {
	d       *recorded
	sources []int64 // of each sector that was written: the offset of its data in the log, or zeros
	watched []extent
	sums    []digest // of the watched extents
	hashes  []hashed // of the sectors of the log
	undo    []change // since mark
}

// hashed is what a sector of the log adds to a digest, once that is known.
type hashed struct {
	digest
	known bool
}

type change struct{ sector, source int64 }

// newImage is the disk at the start of the recording. It keeps the digest of each
// watched extent.
func newImage(d *recorded, watched []extent) *image {
	return &image{d: d, sources: make([]int64, d.size/sectorSize), watched: watched, sums: make([]digest, len(watched)),
		hashes: make([]hashed, len(d.data)/sectorSize+1)}
}

// mark forgets how to undo what was done so far.
func (m *image) mark() { m.undo = m.undo[:0] }

// rollback returns to the last mark.
func (m *image) rollback() {
	for _, c := range slices.Backward(m.undo) {
		m.set(c.sector, c.source)
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
		m.undo = append(m.undo, change{sector, m.sources[sector]})
		m.set(sector, source)
	}
}

func (m *image) set(sector, source int64) {
	for i, w := range m.watched {
		if at := sector * sectorSize; at >= w.Offset && at < w.end() {
			m.sums[i].flip(m.hash(sector, m.sources[sector]))
			m.sums[i].flip(m.hash(sector, source))
		}
	}
	m.sources[sector] = source
}

// hash of a sector with what a source gives it; zero if that changes nothing.
func (m *image) hash(sector, source int64) digest {
	if source == unwritten {
		return digest{}
	}
	if source == zeros {
		return m.compute(sector, source)
	}
	h := &m.hashes[source/sectorSize]
	if !h.known {
		*h = hashed{m.compute(sector, source), true}
	}
	return h.digest
}

func (m *image) compute(sector, source int64) digest {
	content := m.content(source)
	var before [sectorSize]byte
	if _, err := m.d.base.ReadAt(before[:], sector*sectorSize); err == nil && string(before[:]) == string(content) {
		return digest{}
	}
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(slices.Clone(content), uint64(sector)))
	return digest(sum[:len(digest{})])
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
		source := m.sources[at/sectorSize]
		if source == unwritten {
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
	base, err := os.Open(m.d.base.Name()) // at a place of its own: others may copy at the same time
	if err != nil {
		return err
	}
	defer base.Close()
	if err := vm.CopyData(base, f, e.Offset, e.Size); err != nil {
		return fmt.Errorf("extract %d bytes at %d: %w", e.Size, e.Offset, err)
	}
	for at := e.Offset; at < e.end(); at += sectorSize {
		source := m.sources[at/sectorSize]
		if source == unwritten {
			continue
		}
		if _, err := f.WriteAt(m.content(source), at-e.Offset); err != nil {
			return err
		}
	}
	return nil
}
