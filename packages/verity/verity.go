// Package verity makes the hash tree with which the kernel's dm-verity proves
// every block of a root file system as it is read.
//
// Format: dm-verity version 1, SHA-256, data and hash blocks of 4 KiB, no salt,
// no superblock. The tree follows the data, top level first, so that data and
// tree are one image on one partition. What names an image is its Tree: the hash
// at the root and the number of data blocks, as the kernel command line carries
// them in verity=.
package verity

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// BlockSize is the size of data and hash blocks.
const BlockSize = 4096

// Tree identifies an image with a hash tree.
type Tree struct {
	RootHash   string `json:"root_hash"`   // 64 hexadecimal digits
	DataBlocks uint64 `json:"data_blocks"` // blocks before the tree
}

// String is the value of the kernel argument verity=.
func (t Tree) String() string { return t.RootHash + ":" + strconv.FormatUint(t.DataBlocks, 10) }

// ParseTree reads what String writes.
func ParseTree(s string) (Tree, error) {
	hash, count, ok := strings.Cut(s, ":")
	n, err := strconv.ParseUint(count, 10, 64)
	t := Tree{RootHash: hash, DataBlocks: n}
	if !ok || err != nil || t.String() != s || t.Validate() != nil {
		return Tree{}, fmt.Errorf("parse verity tree %q: want 64 hexadecimal digits, a colon, a number of blocks", s)
	}
	return t, nil
}

// Validate checks the two values for plausibility.
func (t Tree) Validate() error {
	if b, err := hex.DecodeString(t.RootHash); err != nil || len(b) != sha256.Size || strings.ToLower(t.RootHash) != t.RootHash {
		return fmt.Errorf("verity root hash %q is not 64 hexadecimal digits in lower case", t.RootHash)
	}
	if t.DataBlocks == 0 || t.DataBlocks > 1<<40 {
		return fmt.Errorf("verity tree over %d blocks", t.DataBlocks)
	}
	return nil
}

// Append pads the file to whole blocks and appends the hash tree. It does not
// sync: the file is still being built.
func Append(path string) (_ Tree, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return Tree{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	tree, levels, err := Compute(f)
	if err != nil {
		return Tree{}, fmt.Errorf("hash %s: %w", path, err)
	}
	end := int64(tree.DataBlocks) * BlockSize
	if err := f.Truncate(end); err != nil {
		return Tree{}, err
	}
	for i := len(levels) - 1; i >= 0; i-- {
		if _, err := f.WriteAt(levels[i], end); err != nil {
			return Tree{}, err
		}
		end += int64(len(levels[i]))
	}
	return tree, nil
}

// Compute reads an image, padded with zeros to whole blocks, and returns its
// tree: the levels from the one over the data up to the single top block.
func Compute(r io.Reader) (Tree, [][]byte, error) {
	hashes, err := hashBlocks(r)
	if err != nil {
		return Tree{}, nil, err
	}
	if len(hashes) == 0 {
		return Tree{}, nil, errors.New("the image is empty")
	}
	tree := Tree{DataBlocks: uint64(len(hashes)) / sha256.Size}
	var levels [][]byte
	for len(hashes) > sha256.Size {
		level := append(hashes, make([]byte, -len(hashes)&(BlockSize-1))...)
		levels = append(levels, level)
		hashes = nil
		for ; len(level) > 0; level = level[BlockSize:] {
			h := sha256.Sum256(level[:BlockSize])
			hashes = append(hashes, h[:]...)
		}
	}
	tree.RootHash = hex.EncodeToString(hashes)
	return tree, levels, nil
}

// hashBlocks returns the hashes of all blocks, one after the other.
func hashBlocks(r io.Reader) ([]byte, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	var hashes []byte
	block := make([]byte, BlockSize)
	for {
		n, err := io.ReadFull(br, block)
		if err == io.EOF {
			return hashes, nil
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		clear(block[n:])
		h := sha256.Sum256(block)
		hashes = append(hashes, h[:]...)
	}
}
