package perm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"micromirror/packages/ext4"
)

// How large a file system for given content is made: block groups of 1,024
// inodes, of which tables take a part; the journal; what the copies of the group
// descriptors take with the room for more; and some to spare.
const (
	groupSize     = blocksPerGroup * BlockSize
	inodesInGroup = groupSize / 131072
	groupTables   = 2 + inodesInGroup*256/BlockSize
	journalBlocks = (64 << 20) / BlockSize
	copiesBlocks  = 25 * (1 + 1024)
	spareBlocks   = (64 << 20) / BlockSize
	lastGroup     = 64 << 20 // mke2fs leaves out one that is too small
)

// Filled is a file system with files in it, for one disk. Make it with NewFilled,
// fill its image, then Place it.
type Filled struct {
	// File is the image, sparse, of everything but the files' content.
	File *os.File
	Size int64
}

// NewFilled makes an empty file system in the file img, with room for the content
// and a UUID of its own. It says so if that is more than a partition of size
// bytes.
func NewFilled(ctx context.Context, img string, size int64, need ext4.Need) (*Filled, error) {
	n, err := filledSize(size, need)
	if err != nil {
		return nil, err
	}
	uuid := newUUID()
	text := fmt.Sprintf("%x-%x-%x-%x-%x", uuid[:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:])
	if err := mke2fs(ctx, img, n, text); err != nil {
		return nil, fmt.Errorf("make file system: %w", err)
	}
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &Filled{File: f, Size: n}, nil
}

// ErrTooLarge is wrapped by the error about content that a partition has no room
// for.
var ErrTooLarge = errors.New("it does not fit the disk")

func filledSize(partition int64, need ext4.Need) (int64, error) {
	const usable = blocksPerGroup - groupTables
	blocks := need.Blocks + need.Blocks/100 + journalBlocks + copiesBlocks + spareBlocks
	groups := max((blocks+usable-1)/usable, (need.Inodes+inodesInGroup-1)/inodesInGroup, TemplateSize/groupSize)
	size, room := groups*groupSize, partition/BlockSize*BlockSize
	if room%groupSize < lastGroup {
		room -= room % groupSize
	}
	if size > room {
		return 0, fmt.Errorf("%w: %d blocks and %d inodes need a partition of %d MiB, it has %d MiB", ErrTooLarge, need.Blocks, need.Inodes, size>>20, partition>>20)
	}
	return size, nil
}

// Finish checks the image after it was filled, and indexes large directories. An
// error is one of the program that filled it.
func (f *Filled) Finish(ctx context.Context) error {
	_, err := e2fsprogs(ctx, "e2fsck", "-fpD", "-E", "no_optimize_extents", f.File.Name())
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == exitCorrected {
		return nil // that is what it says about directories
	}
	return err
}

// Clear wipes the superblocks of an earlier file system from a partition of size
// bytes; do it before content is written there.
func (f *Filled) Clear(t Target, size int64) error { return wipe(t, size) }

// Place copies the image to a partition, around the content that is there
// already. The superblocks come last: when it is interrupted there are none.
func (f *Filled) Place(ctx context.Context, t Target, content []ext4.Span) error {
	held := slices.Collect(superblocks(f.Size))
	for _, at := range held {
		content = append(content, ext4.Span{Offset: at, Length: BlockSize})
	}
	for piece := range f.Around(content) {
		if err := f.copy(ctx, t, piece); err != nil {
			return err
		}
	}
	if err := t.Sync(); err != nil {
		return err
	}
	for _, at := range slices.Backward(held) {
		if err := f.copy(ctx, t, ext4.Span{Offset: at, Length: BlockSize}); err != nil {
			return err
		}
	}
	return t.Sync()
}

func (f *Filled) copy(ctx context.Context, t Target, s ext4.Span) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := make([]byte, s.Length)
	if _, err := f.File.ReadAt(b, s.Offset); err != nil {
		return err
	}
	_, err := t.WriteAt(b, s.Offset)
	return err
}

// Around yields what lies around pieces of the file system, in order, in parts of
// at most 4 MiB.
func (f *Filled) Around(pieces []ext4.Span) func(yield func(ext4.Span) bool) {
	pieces = slices.SortedFunc(slices.Values(pieces), func(a, b ext4.Span) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	return func(yield func(ext4.Span) bool) {
		at := int64(0)
		for _, p := range append(pieces, ext4.Span{Offset: f.Size}) {
			for at < p.Offset {
				n := min(chunkSize, p.Offset-at)
				if !yield(ext4.Span{Offset: at, Length: n}) {
					return
				}
				at += n
			}
			at = max(at, p.Offset+p.Length)
		}
	}
}
