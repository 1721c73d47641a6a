package chunk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// noise is n bytes that are the same each time.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

func mustMake(t *testing.T, b []byte) *Index {
	t.Helper()
	i, err := Make(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func encode(t *testing.T, i *Index) []byte {
	t.Helper()
	b, err := i.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMake(t *testing.T) {
	for _, size := range []int{0, 1, minSize, maxSize, maxSize + 1, 1 << 20} {
		b := noise(1, size)
		i := mustMake(t, b)
		if err := i.validate(); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if i.Size != int64(size) || i.SHA256 != sha256.Sum256(b) {
			t.Errorf("%d bytes: index has size %d and hash %x", size, i.Size, i.SHA256)
		}
		for k, c := range i.Chunks {
			if got := sha256.Sum256(b[c.Offset:c.End()]); got != c.SHA256 {
				t.Errorf("%d bytes: chunk %d has hash %x, want %x", size, k, c.SHA256, got)
			}
			if c.Size < minSize && k < len(i.Chunks)-1 {
				t.Errorf("%d bytes: chunk %d has %d bytes", size, k, c.Size)
			}
		}
		if n := len(i.Chunks); size == 1<<20 && (n < 40 || n > 130) {
			t.Errorf("a MiB has %d chunks, want about 85", n)
		}
	}
}

// Nodes in the field compare with indexes that other releases made: the
// boundaries, and so this hash, may never change.
func TestBoundariesAreForEver(t *testing.T) {
	sum := sha256.Sum256(encode(t, mustMake(t, noise(2, 4<<20))))
	want := "5af7f51a82b24e8580510fec16fea3aadaa8d438452f6d402eaf6f266f4f5a94"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("index of 4 MiB has hash %s, want %s", got, want)
	}
}

func TestMakeFails(t *testing.T) {
	broken := errors.New("broken")
	_, err := Make(io.MultiReader(bytes.NewReader(noise(1, 100_000)), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) {
		t.Errorf("error is %v, want %v", err, broken)
	}
}

func TestBinary(t *testing.T) {
	for _, size := range []int{0, 5, 1 << 20} {
		want := mustMake(t, noise(3, size))
		got, err := Parse(encode(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Chunks, got.Chunks); size > 0 && diff != "" {
			t.Errorf("%d bytes: -want +got:\n%s", size, diff)
		}
		if got.Size != want.Size || got.SHA256 != want.SHA256 {
			t.Errorf("%d bytes: size %d, hash %x", size, got.Size, got.SHA256)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := encode(t, mustMake(t, noise(4, 100_000)))
	edit := func(f func(b []byte) []byte) []byte { return f(slices.Clone(good)) }
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"header only":    good[:headerSize-1],
		"truncated":      good[:len(good)-1],
		"longer":         edit(func(b []byte) []byte { return append(b, 0) }),
		"other magic":    edit(func(b []byte) []byte { b[0]++; return b }),
		"other size":     edit(func(b []byte) []byte { b[15]++; return b }),
		"negative size":  edit(func(b []byte) []byte { b[8] = 0xff; return b }),
		"too many":       edit(func(b []byte) []byte { b[headerSize-4] = 0xff; return b }),
		"too few":        edit(func(b []byte) []byte { b[headerSize-1]--; return b }),
		"empty chunk":    edit(func(b []byte) []byte { copy(b[headerSize:], make([]byte, 4)); return b }),
		"too long chunk": edit(func(b []byte) []byte { b[headerSize+1] = 2; return b }),
	} {
		if i, err := Parse(b); err == nil {
			t.Errorf("%s: accepted as %d chunks", name, len(i.Chunks))
		}
	}
}

func TestWhole(t *testing.T) {
	for size, want := range map[int64]int{-1: -1, 0: 0, 1: 1, maxWhole: 1, maxWhole + 1: -1} {
		i, err := Whole(size, sha256.Sum256(nil))
		if (err == nil) != (want >= 0) {
			t.Errorf("%d bytes: error %v", size, err)
		}
		if err == nil && (len(i.Chunks) != want || i.Size != size) {
			t.Errorf("%d bytes: %d chunks of a file of %d bytes", size, len(i.Chunks), i.Size)
		}
	}
}

func source(name string, b []byte) Source {
	return Source{Name: name, R: bytes.NewReader(b), Size: int64(len(b))}
}

// A changed and longer piece in the middle makes only the chunks around it new,
// wherever the rest has moved to, and whichever source has it.
func TestFind(t *testing.T) {
	start, change, end := noise(5, 500_000), noise(6, 30_000), noise(7, 500_000)
	i := mustMake(t, slices.Concat(start, change, end))
	sources := []Source{
		source("end", slices.Concat(noise(8, 12_345), end)),
		source("start", slices.Concat(start, noise(9, 10_000))),
	}
	p, err := i.Find(t.Context(), sources)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Copies {
		want := i.Chunks[c.Chunk]
		b := make([]byte, want.Size)
		if _, err := sources[c.Source].R.ReadAt(b, c.Offset); err != nil || sha256.Sum256(b) != want.SHA256 {
			t.Errorf("%s does not have chunk %d at %d (error %v)", sources[c.Source].Name, c.Chunk, c.Offset, err)
		}
	}
	if len(p.Copies)+len(p.Missing) != len(i.Chunks) {
		t.Errorf("%d copies and %d missing, want %d", len(p.Copies), len(p.Missing), len(i.Chunks))
	}
	ranges := i.Ranges(p.Missing)
	if len(ranges) != 1 || ranges[0].Offset > 500_000 || ranges[0].End() < 530_000 || ranges[0].Size > 30_000+4*maxSize {
		t.Errorf("missing: %v, want one range around 500000 to 530000", ranges)
	}
}

func TestRanges(t *testing.T) {
	i := &Index{Chunks: []Chunk{{Offset: 0, Size: 10}, {Offset: 10, Size: 20}, {Offset: 30, Size: 5}, {Offset: 35, Size: 5}}}
	for _, c := range []struct {
		chunks []int
		want   []Range
	}{
		{nil, nil},
		{[]int{0, 1, 2, 3}, []Range{{0, 40}}},
		{[]int{0, 2, 3}, []Range{{0, 10}, {30, 10}}},
		{[]int{1}, []Range{{10, 20}}},
	} {
		if diff := cmp.Diff(c.want, i.Ranges(c.chunks)); diff != "" {
			t.Errorf("%v: -want +got:\n%s", c.chunks, diff)
		}
	}
}

// failing is a disk with a bad spot.
type failing struct {
	io.ReaderAt
	from int64
	err  error
}

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(b, off)
}

func TestFindGoesOnAfterBadSource(t *testing.T) {
	b, broken := noise(5, 300_000), errors.New("broken")
	i := mustMake(t, b)
	bad := source("bad", b)
	bad.R = failing{bad.R, 0, broken}
	p, err := i.Find(t.Context(), []Source{bad, source("good", b)})
	if !errors.Is(err, broken) {
		t.Errorf("error is %v, want %v", err, broken)
	}
	if len(p.Missing) > 0 {
		t.Errorf("chunks %v are missing, the good source has all", p.Missing)
	}
}

func TestFindEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := noise(5, 300_000)
	if _, err := mustMake(t, b).Find(ctx, []Source{source("s", b)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}

func FuzzParse(f *testing.F) {
	for _, size := range []int{0, 10, 100_000} {
		i, err := Make(bytes.NewReader(noise(1, size)))
		if err != nil {
			f.Fatal(err)
		}
		b, err := i.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := Parse(b)
		if err != nil {
			return
		}
		if again := encode(t, i); !bytes.Equal(again, b) {
			t.Errorf("encoded again it differs: %x, want %x", again, b)
		}
	})
}
