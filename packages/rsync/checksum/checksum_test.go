package checksum

import (
	"crypto/md5"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/md4" //lint:ignore SA1019 the protocol demands it
)

// plainWeak is the definition.
func plainWeak(data []byte) uint32 {
	var s1, s2 uint32
	for _, b := range data {
		s1 += uint32(int32(int8(b)))
		s2 += s1
	}
	return s1&0xFFFF | s2<<16
}

func random(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestWeak(t *testing.T) {
	full := make([]byte, 200_000)
	for i := range full {
		full[i] = 0x7F
	}
	for _, n := range []int{0, 1, 7, 8, 9, 175, 176, 177, 700, 4099, 131072, 200_000} {
		for _, data := range [][]byte{random(n), full[:n], make([]byte, n)} {
			if got, want := Weak(data), plainWeak(data); got != want {
				t.Errorf("%d bytes: %#x, want %#x", n, got, want)
			}
			if got, want := weakFrom(0, 0, data), plainWeak(data); got != want {
				t.Errorf("%d bytes without instructions of their own: %#x, want %#x", n, got, want)
			}
		}
	}
}

func TestRolling(t *testing.T) {
	data := random(3000)
	const block = 700
	r := NewRolling(data[:block])
	for i := range len(data) - block {
		if got, want := r.Sum(), plainWeak(data[i:i+block]); got != want {
			t.Fatalf("at %d: %#x, want %#x", i, got, want)
		}
		r.Roll(data[i], data[i+block])
	}
	for i := len(data) - block; i < len(data); i++ {
		if got, want := r.Sum(), plainWeak(data[i:]); got != want {
			t.Fatalf("end at %d: %#x, want %#x", i, got, want)
		}
		r.Drop(data[i])
	}
}

// TestSums pins published digests of "abc", in rsync's byte order, and how the
// seed 0x01020304 enters.
func TestSums(t *testing.T) {
	const seed = 0x01020304
	tests := []struct {
		name        string
		sums        Sums
		file, block string
	}{
		{"md4", Negotiated("md4", 0, true), "a448017aaf21d8525fc10ae87aa6729d", "a448017aaf21d8525fc10ae87aa6729d"},
		{"md5", Negotiated("md5", 0, true), "900150983cd24fb0d6963f7d28e17f72", "900150983cd24fb0d6963f7d28e17f72"},
		{"xxh64", Negotiated("xxh64", 0, true), "990977adf52cbc44", "990977adf52cbc44"},
		{"xxh3", Negotiated("xxh3", 0, true), "50392f89945faf78", "50392f89945faf78"},
		{"xxh128", Negotiated("xxh128", 0, true), "50392f89945faf7885613a73b65ab006", "50392f89945faf7885613a73b65ab006"},
		{"md5 seed first", Negotiated("md5", seed, true), "900150983cd24fb0d6963f7d28e17f72", md5Of("\x04\x03\x02\x01abc")},
		{"md5 seed last", ForProtocol(30, seed, false), "900150983cd24fb0d6963f7d28e17f72", md5Of("abc\x04\x03\x02\x01")},
		{"md4 old", ForProtocol(29, seed, false), md4Of("\x04\x03\x02\x01abc"), md4Of("abc\x04\x03\x02\x01")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := tt.sums.New()
			h.Write([]byte("a"))
			h.Write([]byte("bc"))
			if diff := cmp.Diff(tt.file, hex.EncodeToString(h.Sum(nil))); diff != "" {
				t.Errorf("file -want +got:\n%s", diff)
			}
			block := tt.sums.Block(nil, []byte("abc"))
			if diff := cmp.Diff(tt.block, hex.EncodeToString(block)); diff != "" {
				t.Errorf("block -want +got:\n%s", diff)
			}
			if len(block) != tt.sums.Size() {
				t.Errorf("size %d, want %d", tt.sums.Size(), len(block))
			}
		})
	}
}

func md5Of(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func md4Of(s string) string {
	h := md4.New()
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}

func TestChoose(t *testing.T) {
	tests := []struct {
		theirs string
		only   []string
		want   string
		fails  bool
	}{
		{"xxh128 xxh3 xxh64 md5 md4 sha1 none", nil, "xxh128", false},
		{"md4 md5", nil, "md5", false},
		{"xxhash", nil, "xxh64", false},
		{"xxh128 md5", []string{"md5"}, "md5", false},
		{"sha1 none", nil, "", true},
		{"", nil, "", true},
	}
	for _, tt := range tests {
		got, err := Choose(tt.theirs, tt.only)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q of %q: %q, %v", tt.only, tt.theirs, got, err)
		}
	}
}

func BenchmarkWeak(b *testing.B) {
	data := random(32 << 10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Weak(data)
	}
}

func BenchmarkWeakPlain(b *testing.B) {
	data := random(32 << 10)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		weakFrom(0, 0, data)
	}
}

// FuzzWeak compares with the definition.
func FuzzWeak(f *testing.F) {
	f.Add(random(1000))
	f.Fuzz(func(t *testing.T, data []byte) {
		want := plainWeak(data)
		if got := Weak(data); got != want {
			t.Errorf("%#x, want %#x", got, want)
		}
		if got := weakFrom(0, 0, data); got != want {
			t.Errorf("without instructions of their own: %#x, want %#x", got, want)
		}
	})
}
