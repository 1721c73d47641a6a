package disk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// zero clears sectors of an image; negative numbers count from its end.
func zero(t *testing.T, f *os.File, sectors ...int64) {
	t.Helper()
	size, err := Size(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sectors {
		if s < 0 {
			s += size / SectorSize
		}
		if _, err := f.WriteAt(make([]byte, SectorSize), s*SectorSize); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRepairAndGrow(t *testing.T) {
	const bigger = 2 << 40
	for _, c := range []struct {
		name    string
		damage  []int64
		size    int64
		changed bool
	}{
		{"nothing to do", nil, testSize, false},
		{"protective MBR lost", []int64{0}, testSize, true},
		{"primary header lost", []int64{1}, testSize, true},
		{"primary entries lost", []int64{2}, testSize, true},
		{"primary copy and MBR lost", []int64{0, 1, 2}, testSize, true},
		{"backup header lost", []int64{-1}, testSize, true},
		{"backup entries lost", []int64{-33}, testSize, true},
		{"disk is larger", nil, bigger, true},
		{"disk is larger by one sector", nil, testSize + SectorSize, true},
		{"disk is larger, backup lost", []int64{-1}, bigger, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, want := testImage(t, testSize)
			zero(t, f, c.damage...)
			if err := f.Truncate(c.size); err != nil {
				t.Fatal(err)
			}
			for _, wantChanged := range []bool{c.changed, false} {
				changed, err := RepairAndGrow(f)
				if err != nil || changed != wantChanged {
					t.Errorf("RepairAndGrow = %v, %v; want %v", changed, err, wantChanged)
				}
			}
			want.Sectors = uint64(c.size / SectorSize)
			want.Partitions[Perm-1].Last = permLast(want.Sectors)
			got, err := readPrimary(f)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("primary (-want +got): %v\n%s", err, diff)
			}
			checkByPeers(t, f.Name())
		})
	}
}

func TestRepairAndGrowRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *os.File, *Table)
		want   string
	}{
		{"both copies lost", func(t *testing.T, f *os.File, _ *Table) { zero(t, f, 1, -1) }, "backup partition table: no valid header"},
		{"smaller disk", func(t *testing.T, f *os.File, _ *Table) { must(t, f.Truncate(testSize-1<<20)) }, "is of a disk of 8388608 sectors, this one has 8386560"},
		{"smaller disk, primary lost", func(t *testing.T, f *os.File, _ *Table) { zero(t, f, 1); must(t, f.Truncate(testSize-1<<20)) }, "no valid header"},
		{"no partition 4", func(t *testing.T, f *os.File, table *Table) {
			table.Partitions[Perm-1] = Partition{}
			must(t, Write(f, table))
		}, "no partition 4"},
		{"partition behind", func(t *testing.T, f *os.File, table *Table) {
			p := &table.Partitions[Perm-1]
			table.Partitions[5] = Partition{Type: typeLinux, GUID: NewGUID(), First: p.Last - 99, Last: p.Last}
			p.Last -= 100
			must(t, Write(f, table))
		}, "partition 6 lies behind partition 4"},
		{"empty file", func(t *testing.T, f *os.File, _ *Table) { must(t, f.Truncate(0)) }, "EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, table := testImage(t, testSize)
			c.change(t, f, table)
			before := table.GUID
			changed, err := RepairAndGrow(f)
			if err == nil || changed || !strings.Contains(err.Error(), c.want) {
				t.Errorf("RepairAndGrow = %v, %v; want an error with %q", changed, err, c.want)
			}
			if got, err := readPrimary(f); err == nil && got.GUID != before {
				t.Error("the table was changed")
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cutDisk is a disk that remembers only the sectors where tables are, loses
// power after a number of written sectors, and keeps a random part of what was
// not flushed by then.
type cutDisk struct {
	sectors  map[int64][SectorSize]byte // what is on the disk
	pending  map[int64][SectorSize]byte // written, not flushed
	left     int                        // sectors until the cut; negative: never
	writes   int
	cut      bool
	survives func() bool
}

var errCut = errors.New("power cut")

func (d *cutDisk) ReadAt(b []byte, off int64) (int, error) {
	for n := 0; n < len(b); {
		at := off + int64(n)
		s, ok := d.pending[at/SectorSize]
		if !ok {
			s = d.sectors[at/SectorSize]
		}
		n += copy(b[n:], s[at%SectorSize:])
	}
	return len(b), nil
}

func (d *cutDisk) WriteAt(b []byte, off int64) (int, error) {
	for n := 0; n < len(b); {
		if d.left == 0 {
			d.lose()
			return n, errCut
		}
		at := off + int64(n)
		s, ok := d.pending[at/SectorSize]
		if !ok {
			s = d.sectors[at/SectorSize]
		}
		n += copy(s[at%SectorSize:], b[n:])
		d.pending[at/SectorSize] = s
		d.left--
		d.writes++
	}
	return len(b), nil
}

func (d *cutDisk) Sync() error {
	if d.cut {
		return errCut
	}
	for at, s := range d.pending {
		d.sectors[at] = s
	}
	clear(d.pending)
	return nil
}

func (d *cutDisk) lose() {
	d.cut = true
	for at, s := range d.pending {
		if d.survives() {
			d.sectors[at] = s
		}
	}
	clear(d.pending)
}

// load reads what matters of a table's disk.
func load(t *testing.T, table *Table, lost ...int64) *cutDisk {
	t.Helper()
	d := &cutDisk{sectors: map[int64][SectorSize]byte{}, pending: map[int64][SectorSize]byte{}, left: -1}
	must(t, Write(d, table))
	for _, at := range lost {
		delete(d.sectors, at)
	}
	d.writes = 0
	return d
}

func TestPowerCutAtEveryWrite(t *testing.T) {
	const sectors = testSize / SectorSize
	random := rand.New(rand.NewPCG(1, 2))
	table := newTable(t, testSize)
	cuts := 0
	for _, c := range []struct {
		name  string
		lost  []int64
		grown uint64
	}{
		{"grow", nil, sectors * 2},
		{"grow by less than the table's size", nil, sectors + 5},
		{"restore the primary", []int64{0, 1, 5}, sectors},
		{"restore the backup", []int64{sectors - 1}, sectors},
	} {
		whole := load(t, table, c.lost...)
		final, _, err := repairAndGrow(whole, c.grown)
		must(t, err)
		for at := range whole.writes {
			for _, chance := range []float64{0, 0.3, 0.7, 1} {
				d := load(t, table, c.lost...)
				d.left = at
				d.survives = func() bool { return random.Float64() < chance }
				if _, _, err := repairAndGrow(d, c.grown); !errors.Is(err, errCut) {
					t.Fatalf("%s: cut after %d of %d sectors: %v", c.name, at, whole.writes, err)
				}
				d.left, d.cut = -1, false
				got, _, err := repairAndGrow(d, c.grown)
				if err != nil || *got != *final {
					t.Fatalf("%s: after a cut at sector %d, chance %v (-want +got): %v\n%s", c.name, at, chance, err, cmp.Diff(final, got))
				}
				if !sameDisk(whole, d, c.grown) {
					t.Fatalf("%s: after a cut at sector %d the copies differ from those of an uncut run", c.name, at)
				}
				cuts++
			}
		}
	}
	t.Logf("%d power cuts", cuts)
}

func sameDisk(a, b *cutDisk, sectors uint64) bool {
	for _, at := range []int64{0, int64(sectors-backupSectors) * SectorSize} {
		var x, y [34 * SectorSize]byte
		a.ReadAt(x[:], at)
		b.ReadAt(y[:], at)
		if !bytes.Equal(x[:], y[:]) {
			return false
		}
	}
	return true
}

// badSectors is a disk whose sectors cannot be read until they are written.
type badSectors struct {
	*os.File
	bad map[int64]bool
}

func (d *badSectors) touches(off int64, n int, f func(sector int64)) {
	for s := range d.bad {
		if s*SectorSize < off+int64(n) && (s+1)*SectorSize > off {
			f(s)
		}
	}
}

func (d *badSectors) ReadAt(b []byte, off int64) (n int, err error) {
	d.touches(off, len(b), func(int64) { err = syscall.EIO })
	if err != nil {
		return 0, err
	}
	return d.File.ReadAt(b, off)
}

func (d *badSectors) WriteAt(b []byte, off int64) (int, error) {
	d.touches(off, len(b), func(s int64) { delete(d.bad, s) })
	return d.File.WriteAt(b, off)
}

func TestUnreadableSectorsAreWritten(t *testing.T) {
	const last = testSize/SectorSize - 1
	for _, bad := range [][]int64{{0}, {1}, {33}, {last}, {last - 32}, {0, 1, 2}, {0, last}} {
		f, want := testImage(t, testSize)
		d := &badSectors{f, map[int64]bool{}}
		for _, s := range bad {
			d.bad[s] = true
		}
		if _, changed, err := repairAndGrow(d, last+1); err != nil || !changed || len(d.bad) > 0 {
			t.Errorf("sectors %v: changed %v, error %v, still bad %v", bad, changed, err, d.bad)
		}
		got, err := readBackup(f, last+1)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("sectors %v: backup (-want +got): %v\n%s", bad, err, diff)
		}
		checkByPeers(t, f.Name())
	}
}

// badBlocks is a disk behind the kernel's cache: a part of a block of 4 KiB cannot
// be written if the block cannot be read.
type badBlocks struct{ badSectors }

func (d *badBlocks) ReadAt(b []byte, off int64) (int, error) {
	from, to := off&^4095, (off+int64(len(b))+4095)&^4095
	if _, err := d.badSectors.ReadAt(make([]byte, to-from), from); errors.Is(err, syscall.EIO) {
		return 0, err
	}
	return d.File.ReadAt(b, off)
}

func (d *badBlocks) WriteAt(b []byte, off int64) (int, error) {
	for _, edge := range []int64{off, off + int64(len(b))} {
		if _, err := d.ReadAt(make([]byte, 1), edge&^4095); edge%4096 != 0 && err != nil {
			return 0, err
		}
	}
	return d.badSectors.WriteAt(b, off)
}

func TestUnreadableBlocksAreWritten(t *testing.T) {
	const last = testSize/SectorSize - 1
	for _, bad := range [][]int64{{0}, {1}, {0, 1, 2, 3, 4, 5, 6, 7}, {9}, {33}, {1, 33}} {
		f, want := testImage(t, testSize)
		d := &badBlocks{badSectors{f, map[int64]bool{}}}
		for _, s := range bad {
			d.bad[s] = true
		}
		if _, changed, err := repairAndGrow(d, last+1); err != nil || !changed || len(d.bad) > 0 {
			t.Errorf("sectors %v: changed %v, error %v, still bad %v", bad, changed, err, d.bad)
		}
		got, err := readPrimary(f)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("sectors %v: primary (-want +got): %v\n%s", bad, err, diff)
		}
		checkByPeers(t, f.Name())
	}
}
