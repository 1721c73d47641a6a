// Package identity keeps the second copy of what makes a node itself (node and
// fleet file, ACME account, update state) on a raw partition, for the day when
// /perm has to be made anew.
//
// The partition holds two copies in halves of 32 MiB, each with a header (magic,
// version, sequence, length, SHA-256) and a tar. Write always overwrites the
// older half, content before header, each flushed; so the newer copy survives a
// power cut at any point. Promise: Read returns the newest set that was
// completely written, and never a mixture. A node without a valid copy gets
// ErrNone and goes on with what it has.
package identity

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
)

const (
	// HalfSize is the size of one copy; the partition holds two.
	HalfSize = 32 << 20
	// MaxSize bounds the content of a set.
	MaxSize = 16 << 20

	magic       = "MMIDENT\n"
	version     = 1
	headerSpace = 4096
)

// ErrNone says that neither half holds a valid copy.
var ErrNone = errors.New("no identity on the partition")

// Set is what is kept: file names (slash-separated, relative) and contents.
type Set map[string][]byte

// header is at the start of each half. Sum covers the fields before it and the
// body.
type header struct {
	Magic    [8]byte
	Version  uint32
	_        uint32
	Sequence uint64
	Length   uint64
	Sum      [sha256.Size]byte
}

// Device is the partition.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Read returns the newest valid set.
func Read(r io.ReaderAt) (Set, error) {
	set, _, _, err := newest(r)
	return set, err
}

// Write stores a set in place of the older copy, and reads it back. If the disk
// gave neither copy it stores both anew: one that can be read again later must not
// pass for the newer.
func Write(d Device, s Set) error {
	body, err := pack(s)
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	_, half, sequence, err := newest(d)
	copies := 1
	if errors.Is(err, errUnreadable) {
		copies = 2
	}
	for range copies {
		half, sequence = 1-half, sequence+1
		if err := put(d, half, sequence, body); err != nil {
			return err
		}
	}
	return nil
}

// put writes one half.
func put(d Device, half int, sequence uint64, body []byte) error {
	for _, part := range []struct {
		data []byte
		off  int64
	}{{body, headerSpace}, {seal(sequence, body), 0}} {
		if _, err := d.WriteAt(part.data, int64(half)*HalfSize+part.off); err != nil {
			return fmt.Errorf("write identity: %w", err)
		}
		if err := d.Sync(); err != nil {
			return fmt.Errorf("flush identity: %w", err)
		}
	}
	if h, got, err := readHalf(d, half); err != nil || h.Sequence != sequence || !bytes.Equal(got, body) {
		return fmt.Errorf("write identity: reading back half %d: %w", half, cmp.Or(err, errors.New("different content")))
	}
	return nil
}

// errUnreadable is wrapped when it is the disk that fails, not what is on it.
var errUnreadable = errors.New("unreadable")

// newest returns the newest valid set, its half and sequence; half 1 and
// sequence 0, and ErrNone, if there is none.
func newest(r io.ReaderAt) (best Set, half int, sequence uint64, err error) {
	half = 1
	var problems []error
	for i := range 2 {
		h, body, err := readHalf(r, i)
		var set Set
		if err == nil {
			set, err = unpack(body)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("half %d: %w", i, err))
			continue
		}
		if best == nil || h.Sequence > sequence {
			best, half, sequence = set, i, h.Sequence
		}
	}
	if best == nil {
		return nil, half, sequence, errors.Join(append([]error{ErrNone}, problems...)...)
	}
	return best, half, sequence, nil
}

func readHalf(r io.ReaderAt, half int) (header, []byte, error) {
	var h header
	b := make([]byte, binary.Size(h))
	off := int64(half) * HalfSize
	if _, err := r.ReadAt(b, off); err != nil {
		return h, nil, fmt.Errorf("read header: %w (%w)", err, errUnreadable)
	}
	if _, err := binary.Decode(b, binary.LittleEndian, &h); err != nil {
		return h, nil, err
	}
	if string(h.Magic[:]) != magic || h.Version != version {
		return h, nil, errors.New("no header")
	}
	if h.Length > HalfSize-headerSpace {
		return h, nil, fmt.Errorf("header gives a length of %d", h.Length)
	}
	body := make([]byte, h.Length)
	if _, err := r.ReadAt(body, off+headerSpace); err != nil {
		return h, nil, fmt.Errorf("read content: %w (%w)", err, errUnreadable)
	}
	if !bytes.Equal(seal(h.Sequence, body)[:len(b)], b) {
		return h, nil, errors.New("content does not match its checksum")
	}
	return h, body, nil
}

// seal returns the header block of a body.
func seal(sequence uint64, body []byte) []byte {
	h := header{Version: version, Sequence: sequence, Length: uint64(len(body))}
	copy(h.Magic[:], magic)
	b, err := binary.Append(make([]byte, 0, headerSpace), binary.LittleEndian, &h)
	if err != nil {
		panic(err) // the type has a fixed size
	}
	sum := sha256.New()
	sum.Write(b[:len(b)-sha256.Size])
	sum.Write(body)
	copy(b[len(b)-sha256.Size:], sum.Sum(nil))
	return b[:headerSpace]
}

func pack(s Set) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	total := 0
	for _, name := range slices.Sorted(maps.Keys(s)) {
		if total += len(s[name]); total > MaxSize {
			return nil, fmt.Errorf("set is larger than %d bytes", MaxSize)
		}
		if !validName(name) {
			return nil, fmt.Errorf("%q is not a relative file name", name)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(s[name])), Mode: 0o600, Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(s[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if buf.Len() > HalfSize-headerSpace {
		return nil, fmt.Errorf("set of %d files is larger than a half of the partition", len(s))
	}
	return buf.Bytes(), nil
}

func unpack(body []byte) (Set, error) {
	s := Set{}
	r := tar.NewReader(bytes.NewReader(body))
	total := 0
	for {
		h, err := r.Next()
		if err == io.EOF {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || !validName(h.Name) {
			return nil, fmt.Errorf("archive member %q is not a plain file with a relative name", h.Name)
		}
		b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		if total += len(b); total > MaxSize {
			return nil, fmt.Errorf("archive is larger than %d bytes", MaxSize)
		}
		s[h.Name] = b
	}
}

func validName(name string) bool { return fs.ValidPath(name) && name != "." }
