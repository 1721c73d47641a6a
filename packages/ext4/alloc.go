package ext4

import "fmt"

// Span is a piece of the file system, in bytes.
type Span struct{ Offset, Length int64 }

// run is a piece of a file, in blocks.
type run struct{ first, count int64 }

// maxRun is the longest piece that one extent describes.
const maxRun = 32768

// allocator hands out free blocks, each behind the one before.
type allocator struct {
	f      *filler
	group  int64 // whose bitmap is here; -1 before the first
	bitmap []byte
	next   int64 // block of the group
}

func (a *allocator) used(n int64) bool { return a.bitmap[n/8]&(1<<(n%8)) != 0 }
func (a *allocator) set(n int64)       { a.bitmap[n/8] |= 1 << (n % 8) }

// take returns n blocks in as few pieces as there are.
func (a *allocator) take(n int64) ([]run, error) {
	var runs []run
	for n > 0 {
		if a.group < 0 || a.next == blocksPerGroup {
			if err := a.open(a.group + 1); err != nil {
				return nil, err
			}
		}
		if a.used(a.next) {
			a.next++
			continue
		}
		a.set(a.next)
		g := a.f.groups[a.group]
		g.setFreeBlocks(g.freeBlocks() - 1)
		block := a.group*blocksPerGroup + a.next
		if last := len(runs) - 1; last >= 0 && runs[last].first+runs[last].count == block && runs[last].count < maxRun {
			runs[last].count++
		} else {
			runs = append(runs, run{block, 1})
		}
		a.next++
		n--
	}
	return runs, nil
}

// open reads the bitmap of a group, or makes it if it was never written.
func (a *allocator) open(group int64) error {
	if err := a.close(); err != nil {
		return err
	}
	if group >= int64(len(a.f.groups)) {
		return fmt.Errorf("%w: all of its %d blocks are in use", ErrFull, a.f.super.blocks)
	}
	a.group, a.next, a.bitmap = group, 0, make([]byte, BlockSize)
	if a.f.groups[group].flags()&uninitBlocks == 0 {
		_, err := a.f.Image.ReadAt(a.bitmap, a.f.groups[group].blockBitmap()*BlockSize)
		return err
	}
	// Nothing of other groups' lies in such a group, and the last is none.
	if hasSuper(group) {
		for n := range 1 + a.f.descBlocks() + a.f.super.reserved {
			a.set(n)
		}
	}
	return nil
}

// close writes the bitmap back.
func (a *allocator) close() error {
	if a.group < 0 {
		return nil
	}
	g := a.f.groups[a.group]
	g.setFlags(g.flags() &^ uninitBlocks)
	g.setBlockSum(crc(a.f.super.seed, a.bitmap))
	_, err := a.f.Image.WriteAt(a.bitmap, g.blockBitmap()*BlockSize)
	return err
}
