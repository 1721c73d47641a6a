package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// written gives the bytes that write produces on a stream of the protocol.
func written(t *testing.T, protocol int, write func(w *Writer)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, 0)
	w.SetProtocol(protocol)
	write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func reader(protocol int, b []byte) *Reader {
	r := NewReader(iotest.OneByteReader(bytes.NewReader(b)), 0)
	r.SetProtocol(protocol)
	return r
}

// TestEncodings pins bytes that rsync itself produces.
func TestEncodings(t *testing.T) {
	tests := []struct {
		name     string
		protocol int
		write    func(w *Writer)
		want     string
	}{
		{"varint 0", 30, func(w *Writer) { w.Varint(0) }, "00"},
		{"varint 127", 30, func(w *Writer) { w.Varint(127) }, "7f"},
		{"varint 128", 30, func(w *Writer) { w.Varint(128) }, "8080"},
		{"varint 0x1234", 30, func(w *Writer) { w.Varint(0x1234) }, "9234"},
		{"varint 0x4000", 30, func(w *Writer) { w.Varint(0x4000) }, "c00040"},
		{"varint -1", 30, func(w *Writer) { w.Varint(-1) }, "f0ffffffff"},
		{"varlong 0", 30, func(w *Writer) { w.Varlong(0, 3) }, "000000"},
		{"varlong 1 MiB", 30, func(w *Writer) { w.Varlong(1<<20, 3) }, "100000"},
		{"varlong 8 MiB", 30, func(w *Writer) { w.Varlong(1<<23, 3) }, "80000080"},
		{"varlong time", 30, func(w *Writer) { w.Varlong(0x6543210F, 4) }, "650f2143"},
		{"longint small", 29, func(w *Writer) { w.Varlong30(5, 3) }, "05000000"},
		{"longint large", 29, func(w *Writer) { w.Varlong30(1<<32, 3) }, "ffffffff0000000001000000"},
		{"vstring long", 30, func(w *Writer) { w.Vstring(strings.Repeat("a", 200)) }, "80c8" + strings.Repeat("61", 200)},
		{"index 0 then 1 then done", 30, func(w *Writer) { w.Ndx(0); w.Ndx(1); w.Ndx(-1) }, "010100"},
		{"index far", 30, func(w *Writer) { w.Ndx(300); w.Ndx(70000) }, "fe012d" + "fe80701101"},
		{"index again", 30, func(w *Writer) { w.Ndx(5); w.Ndx(5) }, "06fe0000"},
		{"index negative", 30, func(w *Writer) { w.Ndx(-2); w.Ndx(-101) }, "ff01ff63"},
		{"index old", 29, func(w *Writer) { w.Ndx(-1) }, "ffffffff"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := hex.EncodeToString(written(t, tt.protocol, tt.write))
			if got != tt.want {
				t.Errorf("-want +got:\n%s", cmp.Diff(tt.want, got))
			}
		})
	}
}

func TestRoundTrip(t *testing.T) {
	values := []int64{0, 1, -1, 2, 127, 128, 255, 256, 1 << 14, 1<<14 - 1, 1 << 15, 1 << 20, 1<<21 + 7, 1 << 23, 1<<24 - 1,
		1 << 28, math.MaxInt32, math.MinInt32, 1 << 33, 1 << 40, 1 << 47, 1 << 55, math.MaxInt64, math.MinInt64}
	for _, protocol := range []int{29, 31} {
		raw := written(t, protocol, func(w *Writer) {
			for _, v := range values {
				w.Varint30(int32(v))
				w.Varlong30(v, 3)
				w.Varlong(v, 4)
				w.Varlong(v, 8)
				w.Longint(v)
				w.Uint16(uint16(v))
				w.Ndx(int32(v) & math.MaxInt32)
				w.Vstring(strings.Repeat("x", int(v&0xFFF)))
			}
		})
		r := reader(protocol, raw)
		for _, v := range values {
			got := []any{r.Varint30(), r.Varlong30(3), r.Varlong(4), r.Varlong(8), r.Longint(), r.Uint16(), r.Ndx(), len(r.Vstring(0xFFF))}
			want := []any{int32(v), v, v, v, v, uint16(v), int32(v) & math.MaxInt32, int(v & 0xFFF)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("protocol %d, value %d: -want +got:\n%s", protocol, v, diff)
			}
		}
		if r.Err() != nil {
			t.Errorf("protocol %d: %v", protocol, r.Err())
		}
	}
}

func TestMultiplex(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 20_000)
	var b bytes.Buffer
	w := NewWriter(&b, 0)
	w.String("greeting\r\n")
	w.StartMultiplex()
	w.Int32(7)
	w.MessageInt32(NoSend, 12)
	w.Write(big)
	w.Keepalive()
	w.Message(Warning, []byte("text"))
	w.Byte(9)
	w.Flush()

	type message struct {
		Tag  Tag
		Text string
	}
	var got []message
	r := NewReader(iotest.HalfReader(&b), 0)
	r.Message = func(tag Tag, p []byte) error {
		got = append(got, message{tag, string(p)})
		return nil
	}
	if line := r.Line(100); line != "greeting" {
		t.Errorf("line %q", line)
	}
	r.StartMultiplex()
	if v := r.Int32(); v != 7 {
		t.Errorf("int32 %d", v)
	}
	all := make([]byte, len(big))
	r.Full(all)
	if !bytes.Equal(all, big) {
		t.Error("large data differs")
	}
	if v := r.Byte(); v != 9 {
		t.Errorf("byte %d", v)
	}
	want := []message{{NoSend, "\x0c\x00\x00\x00"}, {Warning, "text"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages -want +got:\n%s", diff)
	}
	r.Byte()
	if !errors.Is(r.Err(), io.ErrUnexpectedEOF) {
		t.Errorf("end: %v", r.Err())
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		in   string
		mux  bool
		read func(r *Reader)
	}{
		{"varint too long", "\xff\xff\xff\xff\xff\xff\xff\xff", false, func(r *Reader) { r.Varint() }},
		{"varlong too long", strings.Repeat("\xff", 20), false, func(r *Reader) { r.Varlong(4) }},
		{"vstring too long", "\xff\xff", false, func(r *Reader) { r.Vstring(10) }},
		{"line too long", strings.Repeat("a", 200), false, func(r *Reader) { r.Line(100) }},
		{"message too long", "\xff\xff\xff\x08", true, func(r *Reader) { r.Byte() }},
		{"bounds", "\x05\x00\x00\x00", false, func(r *Reader) { r.Bounded(int64(r.Int32()), 0, 4, "count") }},
		{"index beyond int32", "\xfe\xff\xff\xff\xff\x02", false, func(r *Reader) { r.Ndx(); r.Ndx() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := reader(31, []byte(tt.in))
			if tt.mux {
				r.StartMultiplex()
			}
			tt.read(r)
			if !errors.Is(r.Err(), ErrLimit) {
				t.Errorf("got %v, want %v", r.Err(), ErrLimit)
			}
			if b := r.Byte(); b != 0 {
				t.Errorf("a byte %d after the error", b)
			}
		})
	}
}

// TestPatience reads signs of life without end: time passes between them.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReader(slowly{}, 0)
		r.StartMultiplex()
		r.Patience = time.Hour
		start := time.Now()
		r.Byte()
		if !errors.Is(r.Err(), os.ErrDeadlineExceeded) {
			t.Errorf("got %v", r.Err())
		}
		if waited := time.Since(start); waited < time.Hour || waited > time.Hour+10*time.Minute {
			t.Errorf("after %v", waited)
		}
	})
}

// slowly sends an empty frame every five minutes.
type slowly struct{}

func (slowly) Read(p []byte) (int, error) {
	<-time.After(5 * time.Minute)
	return copy(p, []byte{0, 0, 0, muxBase}), nil
}

func TestTagBelowBase(t *testing.T) {
	r := reader(31, []byte{0, 0, 0, 1})
	r.StartMultiplex()
	if r.Byte(); r.Err() == nil {
		t.Error("a frame with an impossible tag was taken")
	}
}

// FuzzReader reads anything as anything: it must end, and never panic.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x04\x00\x00\x07abcd\x05\x00\x00\x08hello"), uint8(31), true)
	f.Add([]byte("\xff\x01\xfe\x80\x70\x11\x01"), uint8(30), false)
	f.Fuzz(func(t *testing.T, in []byte, protocol uint8, mux bool) {
		r := NewReader(bytes.NewReader(in), 0)
		r.SetProtocol(int(protocol))
		if mux {
			r.StartMultiplex()
		}
		for i := 0; r.Err() == nil; i++ {
			switch i % 8 {
			case 0:
				r.Ndx()
			case 1:
				r.Varint30()
			case 2:
				r.Varlong30(3)
			case 3:
				r.Vstring(100)
			case 4:
				r.Line(100)
			case 5:
				r.Next(10)
			case 6:
				r.Uint16()
			case 7:
				r.Skip(3)
			}
		}
	})
}
