// Package chunk cuts files into content-defined chunks, so that a node downloads
// only those of a new release that it has not got already.
//
// The boundaries follow the content (a Rabin fingerprint over 64 bytes, package
// restic/chunker with one polynomial for ever), so that bytes inserted early in
// an image move the chunks after them without changing these. The sizes were
// chosen by measuring two builds that differ in one daemon, whose squashfs is
// compressed in blocks of some 50 KiB: with chunks of 12 KiB on average 12.1 % of
// the root image have to travel, the index included; neither chunks of 3 nor of
// 50 KiB do better.
//
// An Index lists the chunks of one file with their SHA-256; it travels beside the
// file as <file>.chunks. Find looks for the chunks in what is at hand.
//
// Promise: Parse accepts exactly what MarshalBinary writes, bounded in size. Two
// indexes of one file are the same on every computer and in every release. Find
// names only places whose content it has hashed, or which the caller says to know;
// whoever copies from there later hashes again.
package chunk

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/restic/chunker"
)

// Suffix is what an index is called after the name of its file.
const Suffix = ".chunks"

// What decides where a boundary is. To change any of it is to make every chunk a
// new one for the nodes out there.
const (
	polynomial  = chunker.Pol(0x3DA3358B4DC173)
	averageBits = 13 // beyond the minimum: an average of 12 KiB
	minSize     = 4 << 10
	maxSize     = 64 << 10
)

// Chunk is a piece of a file.
type Chunk struct {
	Offset int64
	Size   uint32
	SHA256 [sha256.Size]byte
}

// End is where the next chunk begins.
func (c Chunk) End() int64 { return c.Offset + int64(c.Size) }

// Index lists the chunks of a file in their order. They cover it without a gap.
type Index struct {
	Size   int64
	SHA256 [sha256.Size]byte // of the whole file
	Chunks []Chunk
}

// Make cuts what r holds.
func Make(r io.Reader) (*Index, error) {
	whole := sha256.New()
	i := &Index{}
	err := cut(io.TeeReader(r, whole), func(c Chunk) error {
		if len(i.Chunks) == maxChunks {
			return errors.New("the file is too large")
		}
		i.Chunks = append(i.Chunks, c)
		i.Size = c.End()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make chunk index: %w", err)
	}
	whole.Sum(i.SHA256[:0])
	return i, nil
}

// cut calls f with each chunk of r.
func cut(r io.Reader, f func(Chunk) error) error {
	c := chunker.NewWithBoundaries(r, polynomial, minSize, maxSize)
	c.SetAverageBits(averageBits)
	buf := make([]byte, maxSize)
	for {
		piece, err := c.Next(buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		err = f(Chunk{Offset: int64(piece.Start), Size: uint32(piece.Length), SHA256: sha256.Sum256(piece.Data)})
		if err != nil {
			return err
		}
	}
}

// Whole is the index of a file of which only size and hash are known: one chunk.
func Whole(size int64, sum [sha256.Size]byte) (*Index, error) {
	i := &Index{Size: size, SHA256: sum}
	if size < 0 || size > maxWhole {
		return nil, fmt.Errorf("file of %d bytes: without a chunk index it may have 0 to %d", size, maxWhole)
	}
	if size > 0 {
		i.Chunks = []Chunk{{Size: uint32(size), SHA256: sum}}
	}
	return i, nil
}

// maxWhole bounds a file that travels in one piece.
const maxWhole = 256 << 20
