package perm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"unsafe"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// chunkSize divides a block group, so that superblocks are at a chunk's start.
const chunkSize = 4 << 20

// Facts about ext4's layout (kernel documentation, ext4 super block).
const (
	blocksPerGroup  = 8 * BlockSize
	superOffset     = 1024 // of the primary superblock in block 0
	superSize       = 1024
	superMagic      = 0xef53
	magicOffset     = 0x38
	uuidOffset      = 0x68
	incompatOffset  = 0x60
	checksumOffset  = 0x3fc
	incompatCsumSee = 0x2000 // metadata_csum_seed
)

// Remake puts a new, empty file system on the partition dev, from the template
// that Template made. It must then be grown.
func Remake(ctx context.Context, dev string, template io.Reader) (err error) {
	f, err := os.OpenFile(dev, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return fmt.Errorf("re-make %s: %w", dev, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("re-make %s: %w", dev, err)
	}
	discard(f, size)
	if err := Write(ctx, f, size, template); err != nil {
		return fmt.Errorf("re-make %s: %w", dev, err)
	}
	return nil
}

// discard tells a solid state disk that nothing of the old content is needed.
// Disks that cannot do it say so; nothing depends on it.
func discard(f *os.File, size int64) {
	span := [2]uint64{0, uint64(size)}
	unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&span)))
}

// Target is a partition, or the part of an image that is one.
type Target interface {
	io.WriterAt
	Sync() error
}

// Write writes the template to the start of a partition of size bytes and gives
// it a UUID of its own. Superblocks of an earlier file system are wiped first,
// all of them: e2fsck would take the old backups for the new file system's. The
// new superblocks come last, so that an interrupted Write leaves none.
func Write(ctx context.Context, t Target, size int64, template io.Reader) error {
	z, err := zstd.NewReader(template, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	defer z.Close()
	if err := wipe(t, size); err != nil {
		return err
	}
	supers, err := copyBlocks(ctx, t, size, z)
	if err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	uuid := newUUID()
	// The primary is the last of all.
	for _, s := range slices.Backward(supers) {
		if err := setUUID(s.block[s.offset:], uuid); err != nil {
			return err
		}
		if _, err := t.WriteAt(s.block, s.at); err != nil {
			return err
		}
	}
	return t.Sync()
}

// newUUID returns a random UUID (version 4).
func newUUID() [16]byte {
	var uuid [16]byte
	rand.Read(uuid[:]) // never fails
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80
	return uuid
}

// wipe clears every block in which a file system of that size has a superblock.
func wipe(t Target, size int64) error {
	zero := make([]byte, BlockSize)
	for at := range superblocks(size) {
		if _, err := t.WriteAt(zero, at); err != nil {
			return fmt.Errorf("wipe superblock at %d: %w", at, err)
		}
	}
	return t.Sync()
}

// superblocks yields the blocks of a partition of that size in which ext4 keeps
// copies of the superblock: groups 0, 1 and the powers of 3, 5 and 7.
func superblocks(size int64) func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		at := func(group int64) int64 { return group * blocksPerGroup * BlockSize }
		for _, group := range []int64{0, 1} {
			if at(group)+BlockSize > size || !yield(at(group)) {
				return
			}
		}
		for _, base := range []int64{3, 5, 7} {
			for group := base; at(group)+BlockSize <= size; group *= base {
				if !yield(at(group)) {
					return
				}
			}
		}
	}
}

// super is a block held back until the rest is written.
type super struct {
	at     int64
	offset int // of the superblock in the block
	block  []byte
}

// copyBlocks writes the template but for the blocks with superblocks, which it
// returns in order.
func copyBlocks(ctx context.Context, t Target, size int64, template io.Reader) ([]super, error) {
	var supers []super
	buf := make([]byte, chunkSize)
	for at := int64(0); ; at += chunkSize {
		// The template is a whole number of chunks: a partial one is damage.
		if _, err := io.ReadFull(template, buf); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read template: %w", err)
		}
		if at+chunkSize > size {
			return nil, fmt.Errorf("the template is larger than the partition's %d bytes", size)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data := buf
		if s, ok := superIn(buf, at); ok {
			supers = append(supers, s)
			data = buf[BlockSize:]
		}
		if _, err := t.WriteAt(data, at+chunkSize-int64(len(data))); err != nil {
			return nil, err
		}
	}
	if len(supers) == 0 || supers[0].at != 0 {
		return nil, errors.New("the template is no ext4 file system")
	}
	return supers, nil
}

// superIn finds a superblock at the start of a chunk of the file system.
func superIn(data []byte, at int64) (super, bool) {
	s := super{at: at}
	if at == 0 {
		s.offset = superOffset
	}
	if at%(blocksPerGroup*BlockSize) != 0 || len(data) < BlockSize ||
		binary.LittleEndian.Uint16(data[s.offset+magicOffset:]) != superMagic {
		return s, false
	}
	s.block = slices.Clone(data[:BlockSize])
	return s, true
}

// setUUID changes the UUID in a superblock. All other checksums start from a
// seed that is stored, not from the UUID.
func setUUID(sb []byte, uuid [16]byte) error {
	if binary.LittleEndian.Uint32(sb[incompatOffset:])&incompatCsumSee == 0 {
		return errors.New("the template was made without metadata_csum_seed")
	}
	copy(sb[uuidOffset:], uuid[:])
	sum := ^crc32.Update(0, crc32.MakeTable(crc32.Castagnoli), sb[:checksumOffset])
	binary.LittleEndian.PutUint32(sb[checksumOffset:], sum)
	return nil
}
