package delta

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/wire"
)

func TestPlan(t *testing.T) {
	for _, size := range []int64{1, 699, 700, 701, 490_000, 1 << 20, 4<<30 + 5, 1 << 40, 1 << 47} {
		for _, sumSize := range []int{8, 16} {
			h, ok := Plan(size, sumSize)
			if !ok || h.Size() != size {
				t.Errorf("%d bytes: %+v describes %d", size, h, h.Size())
			}
			if h.BlockLen < 700 || h.BlockLen > 1<<17 || h.SumLen < 2 || int(h.SumLen) > sumSize {
				t.Errorf("%d bytes: %+v out of bounds", size, h)
			}
			off, n := h.Block(h.Count - 1)
			if off+int64(n) != size {
				t.Errorf("%d bytes: %+v: last block is %d+%d", size, h, off, n)
			}
		}
	}
	for size, want := range map[int64]bool{0: true, -1: false, math.MaxInt64: false, 1 << 49: false} {
		if h, ok := Plan(size, 16); ok != want || h != (Head{}) {
			t.Errorf("%d bytes: %+v, %v", size, h, ok)
		}
	}
}

func TestSign(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	sums := checksum.Negotiated("xxh128", 77, true)
	tests := []struct {
		name  string
		head  int64 // size that the head describes
		basis []byte
	}{
		{"whole", int64(len(data)), data},
		{"shorter than described", int64(len(data)), data[:100_000]},
		{"empty", 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := Plan(tt.head, sums.Size())
			var b bytes.Buffer
			w := wire.NewWriter(&b, 0)
			if err := Sign(w, bytes.NewReader(tt.basis), h, sums); err != nil {
				t.Fatal(err)
			}
			w.Flush()
			r := wire.NewReader(&b, 0)
			got, err := ReadHead(r, sums.Size())
			if err != nil || got != h {
				t.Fatalf("head %+v, %v, want %+v", got, err, h)
			}
			whole := append(bytes.Clone(tt.basis), make([]byte, int(tt.head)-len(tt.basis))...)
			for i := range h.Count {
				off, n := h.Block(i)
				block := whole[off : off+int64(n)]
				strong := make([]byte, h.SumLen)
				weak := uint32(r.Int32())
				r.Full(strong)
				if weak != checksum.Weak(block) || !bytes.Equal(strong, sums.Block(nil, block)[:h.SumLen]) {
					t.Fatalf("block %d differs", i)
				}
			}
			if r.Err() != nil {
				t.Error(r.Err())
			}
		})
	}
}

// FuzzReadHead takes only heads whose blocks lie one after the other.
func FuzzReadHead(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\xbc\x02\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00"), uint8(31))
	f.Add(bytes.Repeat([]byte{0xFF}, 16), uint8(27))
	f.Fuzz(func(t *testing.T, raw []byte, protocol uint8) {
		r := wire.NewReader(bytes.NewReader(raw), 0)
		r.SetProtocol(int(protocol))
		h, err := ReadHead(r, 16)
		if err != nil {
			if !errors.Is(err, ErrHead) && r.Err() == nil {
				t.Errorf("unexplained: %v", err)
			}
			return
		}
		if h.Count == 0 {
			return
		}
		off, n := h.Block(h.Count - 1)
		if off < 0 || n < 0 || off+int64(n) != h.Size() {
			t.Errorf("%+v: last block %d+%d, size %d", h, off, n, h.Size())
		}
	})
}
