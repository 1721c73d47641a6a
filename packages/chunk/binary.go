package chunk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// The form of an index: a header, then size and hash of each chunk; big-endian.
const (
	magic      = "MMCHUNK1"
	headerSize = len(magic) + 8 + sha256.Size + 4
	recordSize = 4 + sha256.Size

	// maxChunks bounds an index to what a root partition of 1 GiB can need, with
	// chunks half as large as they are on average.
	maxChunks = 180_000
)

// MaxEncoded bounds an encoded index: who fetches one need not accept more.
const MaxEncoded = int64(headerSize + maxChunks*recordSize)

// MarshalBinary encodes the index.
func (i *Index) MarshalBinary() ([]byte, error) {
	if err := i.validate(); err != nil {
		return nil, fmt.Errorf("encode chunk index: %w", err)
	}
	b := make([]byte, 0, headerSize+len(i.Chunks)*recordSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint64(b, uint64(i.Size))
	b = append(b, i.SHA256[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(i.Chunks)))
	for _, c := range i.Chunks {
		b = binary.BigEndian.AppendUint32(b, c.Size)
		b = append(b, c.SHA256[:]...)
	}
	return b, nil
}

// Parse decodes an index.
func Parse(b []byte) (*Index, error) {
	i, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("chunk index of %d bytes: %w", len(b), err)
	}
	return i, nil
}

func parse(b []byte) (*Index, error) {
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok || len(b) < headerSize {
		return nil, fmt.Errorf("it does not begin with %q and a header", magic)
	}
	i := &Index{Size: int64(binary.BigEndian.Uint64(rest))}
	rest = rest[8:]
	rest = rest[copy(i.SHA256[:], rest):]
	n := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	if n > maxChunks || len(rest) != int(n)*recordSize {
		return nil, fmt.Errorf("it claims %d chunks, which is not what its length says", n)
	}
	i.Chunks = make([]Chunk, n)
	at := int64(0)
	for k := range i.Chunks {
		c := &i.Chunks[k]
		c.Offset, c.Size = at, binary.BigEndian.Uint32(rest)
		rest = rest[4:]
		rest = rest[copy(c.SHA256[:], rest):]
		at = c.End()
	}
	return i, i.validate()
}

// validate checks that the chunks are of permitted sizes and cover the file.
func (i *Index) validate() error {
	if len(i.Chunks) > maxChunks {
		return fmt.Errorf("%d chunks, at most %d are allowed", len(i.Chunks), maxChunks)
	}
	at := int64(0)
	for k, c := range i.Chunks {
		if c.Offset != at || c.Size == 0 || c.Size > maxSize {
			return fmt.Errorf("chunk %d: %d bytes at %d, want 1 to %d bytes at %d", k, c.Size, c.Offset, maxSize, at)
		}
		at = c.End()
	}
	if at != i.Size {
		return fmt.Errorf("the chunks have %d bytes, the file %d", at, i.Size)
	}
	return nil
}
