package powercut

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(b []byte, sectors int64) ([]entry, error) {
	return parseLog(bytes.NewReader(b), int64(len(b)), sectors*sectorSize)
}

func TestParseLog(t *testing.T) {
	b := encodeLog([]request{write(1024, make([]byte, 1024)), flush, {offset: 0, flags: flagDiscard, size: 2048}, {offset: 512, flags: flagFUA, data: fill(1)}})
	got, err := parse(b, 8)
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{{1024, 1024, 0, 1024}, {0, 0, flagFlush, 2560}, {0, 2048, flagDiscard, 3072}, {512, 512, flagFUA, 3584}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// The machine may have been killed while it wrote the last entry.
	if got, err = parse(b[:len(b)-1], 8); err != nil || len(got) != 3 {
		t.Errorf("torn log: %d entries, error %v, want 3", len(got), err)
	}
}

func TestParseLogRefuses(t *testing.T) {
	good := encodeLog([]request{write(0, fill(1))})
	edit := func(at int, v byte) []byte {
		b := slices.Clone(good)
		b[at] = v
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"other magic":      edit(0, 0),
		"other version":    edit(8, 2),
		"other sectors":    edit(24, 1),
		"too many":         edit(16+3, 1),
		"beyond the disk":  edit(512, 8),
		"negative sector":  edit(512+7, 0xff),
		"enormous request": edit(512+8+3, 0xff),
	} {
		if got, err := parse(b, 8); err == nil {
			t.Errorf("%s: accepted as %v", name, got)
		}
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add(encodeLog(nil))
	f.Add(encodeLog([]request{write(1024, make([]byte, 1024)), flush}))
	f.Add(encodeLog([]request{{offset: 0, flags: flagDiscard, size: 2048}})[:1000])
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parse(b, 64)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Offset < 0 || e.Size < 0 || e.Offset+e.Size > 64*sectorSize || e.Flags&flagDiscard == 0 && e.Data+e.Size > int64(len(b)) {
				t.Errorf("entry %+v is outside of disk or log", e)
			}
		}
	})
}

// sectors reads the first byte of each sector.
func sectors(t *testing.T, m *image) []byte {
	t.Helper()
	var out []byte
	b := make([]byte, m.d.size)
	if _, err := m.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	for s := range slices.Chunk(b, sectorSize) {
		if !bytes.Equal(s, fill(s[0])) {
			t.Fatalf("a sector is a mixture")
		}
		out = append(out, s[0])
	}
	return out
}

var history = []request{
	write(0, fill(10)),                        // 0
	write(512, append(fill(11), fill(12)...)), // 1
	flush,              // 2
	write(0, fill(20)), // 3
	{offset: 1024, flags: flagFUA, data: fill(21)}, // 4
	write(0, fill(22)), // 5
	{flags: flagFlush, offset: 1536, data: fill(23)}, // 6
	{offset: 0, flags: flagDiscard, size: 1024},      // 7
	{flags: flagFlush | flagFUA, data: fill(30)},     // 8
}

// What was flushed or written with FUA is there; the rest may be, in each
// combination, and nothing else is.
func TestCuts(t *testing.T) {
	d := record(t, blankDisk(t, 4), history)
	may := map[int][][]byte{ // what each sector may hold after so many entries
		1: {{0, 10}, {1}, {2}, {3}},
		2: {{0, 10}, {1, 11}, {2, 12}, {3}},
		4: {{10, 20}, {11}, {12}, {3}},
		5: {{10, 20}, {11}, {21}, {3}},
		6: {{10, 20, 22}, {11}, {21}, {3}},
		7: {{22}, {11}, {21}, {3, 23}},
		8: {{22, 0}, {11, 0}, {21}, {3, 23}},
		9: {{30}, {0}, {21}, {23}},
	}
	p := newPlayer(d, []extent{{0, d.size}})
	var prefixes []byte
	digests := map[string]digest{}
	for _, c := range listCuts(d.entries) {
		got := sectors(t, p.at(c))
		for n, b := range got {
			if !slices.Contains(may[c.Before][n], b) {
				t.Errorf("%s: sector %d holds %d, want one of %v", c, n, b, may[c.Before][n])
			}
		}
		if c.Kind == Prefix {
			prefixes = append(prefixes, got[0])
		}
		if have, ok := digests[string(got)]; ok && have != p.m.sums[0] {
			t.Errorf("%s: the same content has the digests %x and %x", c, have, p.m.sums[0])
		}
		digests[string(got)] = p.m.sums[0]
		if again := sectors(t, newPlayer(d, nil).at(c)); !bytes.Equal(again, got) {
			t.Errorf("%s alone gives %v, in its turn %v", c, again, got)
		}
	}
	if diff := cmp.Diff([]byte{10, 10, 20, 20, 22, 22, 0, 30}, prefixes); diff != "" {
		t.Errorf("first sector after each write: -want +got:\n%s", diff)
	}
	distinct := map[digest]bool{}
	for _, v := range digests {
		distinct[v] = true
	}
	if len(distinct) != len(digests) {
		t.Errorf("%d contents have %d digests", len(digests), len(distinct))
	}
}

// The random cuts do vary: over a long stretch without a flush each write is
// missing in some of them and there in others, and some are torn.
func TestCutsVary(t *testing.T) {
	var requests []request
	for n := range 40 {
		requests = append(requests, write(int64(n)*1024, append(fill(100), fill(100)...)))
	}
	d := record(t, blankDisk(t, 80), requests)
	there, missing, torn := 0, 0, 0
	p := newPlayer(d, nil)
	for _, c := range listCuts(d.entries) {
		if c.Kind == Prefix {
			continue
		}
		got := sectors(t, p.at(c))
		for n := 0; n < 2*c.Before; n += 2 {
			switch first, second := got[n] == 100, got[n+1] == 100; {
			case first && second:
				there++
			case !first && !second:
				missing++
			case c.Kind == Torn:
				torn++
			default:
				t.Errorf("%s: a write is torn", c)
			}
		}
	}
	if there < 100 || missing < 100 || torn < 20 {
		t.Errorf("%d writes were there, %d missing, %d torn", there, missing, torn)
	}
}

func TestExtract(t *testing.T) {
	d := record(t, blankDisk(t, 8), history)
	m := newPlayer(d, nil).at(Cut{Before: 6, Kind: Prefix})
	path := filepath.Join(t.TempDir(), "out")
	if err := m.extract(path, extent{512, 2048}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(fill(11), fill(21), fill(3), fill(4)); !bytes.Equal(got, want) {
		t.Errorf("extracted %d bytes, sectors %d %d %d %d", len(got), got[0], got[512], got[1024], got[1536])
	}
	b := make([]byte, 1000) // not aligned
	if _, err := m.ReadAt(b, 100); err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(fill(22), fill(11), fill(21))[100:1100]; !bytes.Equal(b, want) {
		t.Error("an unaligned read differs")
	}
}
