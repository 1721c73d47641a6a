package identity

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// partition is a raw partition in memory, of which only the start of each half
// is stored. It fails after a number of written bytes, as a power cut does.
type partition struct {
	half [2][64 << 10]byte
	left int // bytes until the cut; negative: never
}

var errCut = errors.New("power cut")

func newPartition() *partition { return &partition{left: -1} }

func (p *partition) ReadAt(b []byte, off int64) (int, error) {
	half, off := off/HalfSize, off%HalfSize
	if half > 1 || off > int64(len(p.half[0])) {
		return 0, io.EOF
	}
	n := copy(b, p.half[half][off:])
	if n < len(b) {
		return n, io.ErrUnexpectedEOF
	}
	return n, nil
}

func (p *partition) WriteAt(b []byte, off int64) (int, error) {
	half, off := off/HalfSize, off%HalfSize
	if p.left >= 0 && len(b) > p.left {
		n := copy(p.half[half][off:], b[:p.left])
		p.left = 0
		return n, errCut
	}
	p.left -= len(b)
	return copy(p.half[half][off:], b), nil
}

func (p *partition) Sync() error {
	if p.left == 0 {
		return errCut
	}
	return nil
}

func TestWriteAndRead(t *testing.T) {
	p := newPartition()
	if _, err := Read(p); !errors.Is(err, ErrNone) {
		t.Errorf("empty partition: %v", err)
	}
	for i, want := range []Set{
		{},
		{"node.json": []byte("{}"), "acme/account.key": bytes.Repeat([]byte{0, 1}, 700), "update/state.json": nil},
		{"node.json": []byte(`{"name":"new"}`)},
		{strings.Repeat("long/", 60) + "name": []byte("x")},
	} {
		if err := Write(p, want); err != nil {
			t.Fatal(err)
		}
		for name, b := range want { // a tar does not tell nil from empty
			if b == nil {
				want[name] = []byte{}
			}
		}
		got, err := Read(p)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("set %d (-want +got): %v\n%s", i, err, diff)
		}
	}
}

func TestTornWriteKeepsTheOldSet(t *testing.T) {
	older, old, next := Set{"f": []byte("older")}, Set{"f": []byte("old")}, Set{"f": []byte("new")}
	before := newPartition()
	for _, s := range []Set{older, old} {
		if err := Write(before, s); err != nil {
			t.Fatal(err)
		}
	}
	body, err := pack(next)
	if err != nil {
		t.Fatal(err)
	}
	total := headerSpace + len(body)
	for cut := range total {
		p := *before
		p.left = cut
		if err := Write(&p, next); !errors.Is(err, errCut) {
			t.Fatalf("cut after %d of %d bytes: %v", cut, total, err)
		}
		p.left = -1
		got, err := Read(&p)
		if err != nil || string(got["f"]) != "old" && cut < len(body)+64 {
			t.Fatalf("cut after %d bytes: read %q, %v", cut, got["f"], err)
		}
		if err := Write(&p, next); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(&p); err != nil || string(got["f"]) != "new" {
			t.Fatalf("after another write: %q, %v", got["f"], err)
		}
	}
}

func TestDamageFallsBackToTheOlderSet(t *testing.T) {
	p := newPartition()
	for _, s := range []string{"old", "new"} {
		if err := Write(p, Set{"f": []byte(s)}); err != nil {
			t.Fatal(err)
		}
	}
	for at := range 64 { // header, and some of the content
		for _, off := range []int{at, headerSpace + 8*at} {
			damaged := *p
			damaged.half[1][off] ^= 1
			got, err := Read(&damaged)
			if err != nil || string(got["f"]) != "old" {
				t.Errorf("byte %d of the newer half changed: %q, %v", off, got["f"], err)
			}
		}
	}
	p.half[0][0]++
	p.half[1][headerSpace]++
	if _, err := Read(p); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "half 1: content does not match") {
		t.Errorf("both damaged: %v", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, s := range map[string]Set{
		"absolute name": {"/etc/passwd": nil},
		"escaping name": {"a/../../b": nil},
		"no name":       {"": nil},
		"dot":           {".": nil},
		"too large":     {"f": make([]byte, MaxSize+1)},
	} {
		p := newPartition()
		if err := Write(p, s); err == nil || p.half != newPartition().half {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnpackRefusesLinksAndEscapes(t *testing.T) {
	for _, h := range []tar.Header{
		{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: "dir/", Typeflag: tar.TypeDir},
		{Name: "../up", Typeflag: tar.TypeReg},
		{Name: "/abs", Typeflag: tar.TypeReg},
	} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if s, err := unpack(buf.Bytes()); err == nil {
			t.Errorf("%s was accepted: %v", h.Name, s)
		}
	}
}

func FuzzRead(f *testing.F) {
	body, err := pack(Set{"node.json": []byte("{}")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seal(1, body)[:64], body, false)
	f.Add([]byte(magic), []byte{}, true)
	f.Fuzz(func(t *testing.T, head, body []byte, reseal bool) {
		p := newPartition()
		if reseal { // reaches the archive behind the checksum
			head = seal(1, body)
		}
		copy(p.half[0][:headerSpace], head)
		copy(p.half[0][headerSpace:], body)
		s, err := Read(p)
		if err != nil {
			return
		}
		if err := Write(p, s); err != nil {
			return // more headers than the memory of the test holds
		}
		again, err := Read(p)
		if diff := cmp.Diff(s, again); err != nil || diff != "" {
			t.Errorf("(-first +second): %v\n%s", err, diff)
		}
	})
}

// fails is a partition that cannot be read at some places, a number of times.
type fails struct {
	*partition
	left map[int64]int
}

func (f *fails) ReadAt(b []byte, off int64) (int, error) {
	if f.left[off] > 0 {
		f.left[off]--
		return 0, syscall.EIO
	}
	return f.partition.ReadAt(b, off)
}

// Whatever the disk refused while a set was written, that set is what comes back
// once the disk gives all.
func TestWriteToADiskThatFails(t *testing.T) {
	for name, left := range map[string]map[int64]int{
		"newer":         {0: 1},
		"older":         {HalfSize: 1},
		"both":          {0: 1, HalfSize: 1},
		"both contents": {headerSpace: 1, HalfSize + headerSpace: 1},
	} {
		p := newPartition()
		for _, s := range []string{"oldest", "older", "old"} {
			if err := Write(p, Set{"f": []byte(s)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := Write(&fails{p, left}, Set{"f": []byte("new")}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := Read(p)
		if err != nil || string(got["f"]) != "new" {
			t.Errorf("%s: %q, %v", name, got["f"], err)
		}
	}
	p := newPartition()
	if err := Write(&fails{p, map[int64]int{0: 9}}, Set{}); !errors.Is(err, syscall.EIO) {
		t.Errorf("a half that cannot be read back: %v", err)
	}
}
