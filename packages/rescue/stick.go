package rescue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
)

// ErrStick is wrapped when it is the stick that is at fault, not the box.
var ErrStick = errors.New("the stick is damaged")

// Stick is a stick all of which was found to be right.
type Stick struct {
	Manifest
	boot []byte // with the manifest's GUID
	root *io.SectionReader
}

// Open reads the whole stick of size bytes and checks it.
func Open(ctx context.Context, r io.ReaderAt, size int64) (*Stick, error) {
	s, err := open(ctx, r, size)
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: %w", ErrStick, err)
	}
	return s, err
}

func open(ctx context.Context, r io.ReaderAt, size int64) (*Stick, error) {
	t, err := disk.Read(r, size)
	if err != nil {
		return nil, err
	}
	part := func(n int, most int64) *io.SectionReader {
		p := t.Part(n)
		return io.NewSectionReader(r, p.Offset(), min(p.Size(), most))
	}
	set, err := identity.Read(part(disk.Identity, disk.IdentitySize))
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(set)
	if err != nil {
		return nil, err
	}
	s := &Stick{Manifest: m, boot: make([]byte, m.Boot.Size), root: part(disk.RootA, m.Root.Size)}
	if err := s.readBoot(ctx, part(disk.Perm, m.Boot.Size)); err != nil {
		return nil, fmt.Errorf("boot files: %w", err)
	}
	if err := stream(ctx, s.root, m.Root, nil, nil); err != nil {
		return nil, fmt.Errorf("root file system: %w", err)
	}
	return s, nil
}

func (s *Stick) readBoot(ctx context.Context, r io.ReaderAt) error {
	err := stream(ctx, r, s.Boot, func(b []byte, off int64) error {
		copy(s.boot[off:], b)
		return nil
	}, nil)
	if err == nil && !bytes.Contains(s.boot, []byte(s.GUID)) {
		err = errors.New("no boot entry names the disk " + s.GUID)
	}
	return err
}

// chunk is how much is read at once.
const chunk = 1 << 20

var errDiffers = errors.New("its content is not what was written")

// stream reads a part, hands each piece to use, counts it, and compares the hash of
// the whole.
func stream(ctx context.Context, r io.ReaderAt, p Part, use func(b []byte, off int64) error, count func(n int64)) error {
	h := sha256.New()
	b := make([]byte, min(chunk, p.Size))
	for off := int64(0); off < p.Size; {
		piece := b[:min(int64(len(b)), p.Size-off)]
		if err := ctx.Err(); err != nil {
			return err
		}
		if n, err := r.ReadAt(piece, off); n < len(piece) {
			return fmt.Errorf("read at %d: %w", off, err)
		}
		h.Write(piece)
		if use != nil {
			if err := use(piece, off); err != nil {
				return err
			}
		}
		off += int64(len(piece))
		if count != nil {
			count(int64(len(piece)))
		}
	}
	return matches(h, p)
}

func matches(h hash.Hash, p Part) error {
	if hex.EncodeToString(h.Sum(nil)) != p.SHA256 {
		return errDiffers
	}
	return nil
}
