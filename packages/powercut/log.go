package powercut

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The format is that of the Linux device mapper's log-writes target: a superblock
// of a sector, then for each request a sector that describes it and its data.
const (
	logMagic   = 0x6a736677736872
	logVersion = 1

	flagFlush   = 1
	flagFUA     = 2
	flagDiscard = 4

	// maxRequest bounds one request, maxEntries a recording.
	maxRequest = 1 << 30
	maxEntries = 1 << 22
)

// sectorSize is that of the disk and of the log.
const sectorSize = 512

// entry is a request to the disk.
type entry struct {
	Offset, Size int64 // on the disk, in bytes
	Flags        uint64
	Data         int64 // where its data is in the log
}

// writes says whether the request changes the disk.
func (e entry) writes() bool { return e.Size > 0 }

// parseLog reads the descriptions of a log; the data stays where it is. A log whose
// machine was killed may end in the middle of an entry, which then never happened.
func parseLog(r io.ReaderAt, size, disk int64) ([]entry, error) {
	var super struct {
		Magic, Version, Entries uint64
		SectorSize              uint32
	}
	in := bufio.NewReader(io.NewSectionReader(r, 0, size))
	if err := binary.Read(in, binary.LittleEndian, &super); err != nil {
		return nil, fmt.Errorf("log of writes: superblock: %w", err)
	}
	if super.Magic != logMagic || super.Version != logVersion || super.SectorSize != sectorSize {
		return nil, fmt.Errorf("log of writes: superblock %+v is not of version %d with sectors of %d bytes", super, logVersion, sectorSize)
	}
	if super.Entries > maxEntries {
		return nil, fmt.Errorf("log of writes: %d entries, at most %d can be handled", super.Entries, maxEntries)
	}
	var out []entry
	at := int64(sectorSize)
	for n := range super.Entries {
		e, err := parseEntry(r, at, size, disk)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("log of writes: entry %d: %w", n, err)
		}
		if at = e.Data; e.Flags&flagDiscard == 0 {
			at += e.Size
		}
		out = append(out, e)
	}
	return out, nil
}

func parseEntry(r io.ReaderAt, at, size, disk int64) (entry, error) {
	var raw [32]byte
	if at+sectorSize > size {
		return entry{}, io.ErrUnexpectedEOF
	}
	if _, err := r.ReadAt(raw[:], at); err != nil {
		return entry{}, err
	}
	le := binary.LittleEndian
	sector, count, flags := le.Uint64(raw[:]), le.Uint64(raw[8:]), le.Uint64(raw[16:])
	e := entry{Offset: int64(sector) * sectorSize, Size: int64(count) * sectorSize, Flags: flags, Data: at + sectorSize}
	switch limit := uint64(disk) / sectorSize; {
	case sector > limit || count > limit-sector:
		return entry{}, fmt.Errorf("sectors %d+%d are beyond the disk's %d", sector, count, limit)
	case flags&flagDiscard == 0 && count > maxRequest/sectorSize:
		return entry{}, fmt.Errorf("a request of %d sectors", count)
	case flags&flagDiscard == 0 && e.Data+e.Size > size:
		return entry{}, io.ErrUnexpectedEOF
	}
	return e, nil
}
