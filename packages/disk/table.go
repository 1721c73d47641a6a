package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

const (
	entryCount    = 128
	entrySize     = 128
	entrySectors  = entryCount * entrySize / SectorSize
	headerSize    = 92
	backupSectors = entrySectors + 1 // entries, header
	firstUsable   = 2 + entrySectors // protective MBR, header, entries
	minSectors    = firstUsable + 1 + backupSectors

	signature   = "EFI PART"
	revision1_0 = 0x00010000
)

// Table is a GUID partition table, the content that both copies share.
type Table struct {
	GUID       GUID
	Sectors    uint64                // size of the disk that it was made for
	Partitions [entryCount]Partition // partition number n is at n-1
}

// Partition is one entry; First and Last are sectors, both included.
type Partition struct {
	Type, GUID  GUID
	First, Last uint64
	Attributes  uint64
	Name        string
}

// Used says whether the entry describes a partition.
func (p Partition) Used() bool { return p.Type != GUID{} }

// Offset is where the partition starts, in bytes.
func (p Partition) Offset() int64 { return int64(p.First) * SectorSize }

// Size is the partition's length in bytes.
func (p Partition) Size() int64 { return int64(p.Last-p.First+1) * SectorSize }

// Part returns partition number n, counted from 1.
func (t *Table) Part(n int) Partition { return t.Partitions[n-1] }

// header is the on-disk header (UEFI specification, table "GPT Header").
type header struct {
	Signature             [8]byte
	Revision, Size        uint32
	CRC, Reserved         uint32
	My, Alternate         uint64
	FirstUsable, LastUsed uint64
	Disk                  GUID
	EntriesLBA            uint64
	Count, EntrySize      uint32
	EntriesCRC            uint32
}

// entry is the on-disk partition entry.
type entry struct {
	Type, GUID  GUID
	First, Last uint64
	Attributes  uint64
	Name        [36]uint16
}

// primary returns sectors 1 to 33: header, entries.
func (t *Table) primary() []byte {
	entries := t.entries()
	return append(t.header(1, t.Sectors-1, 2, entries), entries...)
}

// backup returns the last 33 sectors of the disk: entries, header.
func (t *Table) backup() []byte {
	entries := t.entries()
	return append(entries, t.header(t.Sectors-1, 1, t.Sectors-backupSectors, entries)...)
}

func (t *Table) backupOffset() int64 { return int64(t.Sectors-backupSectors) * SectorSize }

func (t *Table) header(my, alternate, entriesLBA uint64, entries []byte) []byte {
	h := header{
		Revision: revision1_0, Size: headerSize, My: my, Alternate: alternate,
		FirstUsable: firstUsable, LastUsed: t.Sectors - backupSectors - 1, Disk: t.GUID, EntriesLBA: entriesLBA,
		Count: entryCount, EntrySize: entrySize, EntriesCRC: crc32.ChecksumIEEE(entries),
	}
	copy(h.Signature[:], signature)
	h.CRC = crc32.ChecksumIEEE(marshal(&h))
	return append(marshal(&h), make([]byte, SectorSize-headerSize)...)
}

func (t *Table) entries() []byte {
	var all [entryCount]entry
	for i, p := range t.Partitions {
		e := entry{Type: p.Type, GUID: p.GUID, First: p.First, Last: p.Last, Attributes: p.Attributes}
		copy(e.Name[:], utf16.Encode([]rune(p.Name)))
		all[i] = e
	}
	return marshal(&all)
}

// marshal cannot fail: the types here have a fixed size.
func marshal(v any) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err)
	}
	return b
}

// readPrimary reads the copy at the start of the disk.
func readPrimary(r io.ReaderAt) (*Table, error) {
	b := make([]byte, (1+entrySectors)*SectorSize)
	if _, err := r.ReadAt(b, SectorSize); err != nil {
		return nil, fmt.Errorf("read primary partition table: %w", err)
	}
	t, err := decode(b[:SectorSize], b[SectorSize:], 1)
	if err != nil {
		return nil, fmt.Errorf("primary partition table: %w", err)
	}
	return t, nil
}

// readBackup reads the copy at the end of a disk of that many sectors.
func readBackup(r io.ReaderAt, sectors uint64) (*Table, error) {
	if sectors < minSectors {
		return nil, fmt.Errorf("backup partition table: disk of %d sectors cannot hold one", sectors)
	}
	b := make([]byte, backupSectors*SectorSize)
	if _, err := r.ReadAt(b, int64(sectors-backupSectors)*SectorSize); err != nil {
		return nil, fmt.Errorf("read backup partition table: %w", err)
	}
	n := entrySectors * SectorSize
	t, err := decode(b[n:], b[:n], sectors-1)
	if err != nil {
		return nil, fmt.Errorf("backup partition table: %w", err)
	}
	return t, nil
}

// decode checks a header found at sector lba, and the entries beside it.
func decode(head, entries []byte, lba uint64) (*Table, error) {
	var h header
	if _, err := binary.Decode(head, binary.LittleEndian, &h); err != nil {
		return nil, err
	}
	crc := h.CRC
	h.CRC = 0
	if string(h.Signature[:]) != signature || crc != crc32.ChecksumIEEE(marshal(&h)) {
		return nil, errors.New("no valid header")
	}
	entriesLBA, last := uint64(2), h.Alternate
	if lba != 1 {
		entriesLBA, last = lba-entrySectors, h.My
	}
	switch {
	case h.Size != headerSize || h.Count != entryCount || h.EntrySize != entrySize || h.My != lba || h.EntriesLBA != entriesLBA:
		return nil, errors.New("header describes another layout than the standard one")
	case last < minSectors-1 || last >= 1<<54:
		return nil, fmt.Errorf("header gives %d as the disk's last sector", last)
	case h.EntriesCRC != crc32.ChecksumIEEE(entries):
		return nil, errors.New("entries do not match their checksum")
	}
	t := &Table{GUID: h.Disk, Sectors: last + 1}
	return t, t.setEntries(entries)
}

func (t *Table) setEntries(b []byte) error {
	var all [entryCount]entry
	if _, err := binary.Decode(b, binary.LittleEndian, &all); err != nil {
		return err
	}
	for i, e := range all {
		p := Partition{Type: e.Type, GUID: e.GUID, First: e.First, Last: e.Last, Attributes: e.Attributes, Name: name(e.Name)}
		if p.Used() && (p.First < firstUsable || p.Last < p.First || p.Last >= t.Sectors-backupSectors) {
			return fmt.Errorf("partition %d spans sectors %d to %d of %d", i+1, p.First, p.Last, t.Sectors)
		}
		t.Partitions[i] = p
	}
	return nil
}

func name(u [36]uint16) string {
	n := 0
	for n < len(u) && u[n] != 0 {
		n++
	}
	return string(utf16.Decode(u[:n]))
}

// protectiveMBR is the partition table of sector 0 (bytes 446 to 511): one
// partition of type 0xEE over the whole disk, as far as 32 bits reach.
func protectiveMBR(sectors uint64) []byte {
	b := make([]byte, SectorSize-mbrOffset)
	copy(b, []byte{0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	binary.LittleEndian.PutUint32(b[12:], uint32(min(sectors-1, 0xffffffff)))
	b[64], b[65] = 0x55, 0xaa
	return b
}

const mbrOffset = 446

// same reports whether the disk can be read at off and holds want there.
func same(r io.ReaderAt, want []byte, off int64) bool {
	got := make([]byte, len(want))
	_, err := r.ReadAt(got, off)
	return err == nil && bytes.Equal(got, want)
}
