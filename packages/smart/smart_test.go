package smart

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// ataDisk answers as a disk would.
type ataDisk struct {
	id, data, limits, statistics []byte
	failing                      bool
}

func (d ataDisk) do(c ataCommand) ([]byte, byte, byte, error) {
	var answer []byte
	switch {
	case c.command == ataIdentify:
		answer = d.id
	case c.command == ataReadLogExt && c.low == statisticsLog && c.mid == solidState && c.extended:
		answer = d.statistics
	case c.command == ataSMART && c.mid == smartMid && c.high == smartHigh:
		switch c.feature {
		case smartData:
			answer = d.data
		case smartThresholds:
			answer = d.limits
		case smartStatus:
			if d.failing {
				return nil, failingMid, failingHigh, nil
			}
			return nil, smartMid, smartHigh, nil
		}
	}
	if answer == nil {
		return nil, 0, 0, ErrUnsupported
	}
	return answer, 0, 0, nil
}

// identified makes an IDENTIFY sector.
func identified(model string, rotation, enabled uint16) []byte {
	b := make([]byte, 512)
	copy(b[54:94], swapped([]byte(model + "                                        ")[:40]))
	copy(b[20:40], swapped([]byte("S3RIAL              ")))
	for word, v := range map[int]uint16{82: 1, 83: 0x4000, 85: enabled, 217: rotation} {
		binary.LittleEndian.PutUint16(b[2*word:], v)
	}
	return b
}

type row struct{ id, flags, value, limit, raw byte }

// tables makes the sectors of attributes and limits.
func tables(rows ...row) (data, limits []byte) {
	data, limits = make([]byte, 512), make([]byte, 512)
	for i, r := range rows {
		at := attributesOffset + i*attributeSize
		data[at], data[at+1], data[at+3], data[at+5] = r.id, r.flags, r.value, r.raw
		limits[at], limits[at+1] = r.id, r.limit
	}
	return data, limits
}

func statistics(worn, flags byte) []byte {
	b := make([]byte, 512)
	b[2], b[8], b[15] = solidState, worn, flags
	return b
}

func TestATA(t *testing.T) {
	const ssd, disk, on = 1, 7200, 1
	healthy := []row{{attrReplaced, 1, 100, 10, 2}, {attrHours, 0, 99, 0, 77}, {attrTemperature, 0, 60, 0, 41}, {attrPending, 0, 100, 0, 0}}
	worn := append(healthy, row{id: 231, value: 88, raw: 1})
	base := Health{Model: "ACME SSD", Serial: "S3RIAL", Worn: -1, Celsius: 41, Hours: 77, Replaced: 2}
	change := func(f func(*Health)) Health { h := base; f(&h); return h }
	for _, tc := range []struct {
		name       string
		rotation   uint16
		rows       []row
		statistics []byte
		failing    bool
		want       Health
	}{
		{"nothing about wear", ssd, healthy, nil, false, base},
		{"maker's attribute", ssd, worn, nil, false, change(func(h *Health) { h.Worn = 12 })},
		{"the attribute means something else on a spinning disk", disk, worn, nil, false, base},
		{"the standard's figure is better", ssd, worn, statistics(9, 0xc0), false, change(func(h *Health) { h.Worn = 9 })},
		{"unless it is not valid", ssd, worn, statistics(9, 0x80), false, change(func(h *Health) { h.Worn = 12 })},
		{"own verdict", ssd, healthy, nil, true, change(func(h *Health) {
			h.Failing, h.Why = true, []string{"the disk expects to fail soon"}
		})},
		{"limit passed", ssd, append(healthy, row{id: 10, flags: 1, value: 5, limit: 20}), nil, false, change(func(h *Health) {
			h.Failing, h.Why = true, []string{"SMART attribute 10 is at 5, its limit is 20"}
		})},
		{"an age is no failure", ssd, append(healthy, row{id: 9, value: 5, limit: 20, raw: 77}), nil, false, base},
		{"unreadable", ssd, append(healthy, row{id: attrUncorrected, value: 100, raw: 7}), nil, false, change(func(h *Health) { h.Unreadable = 7 })},
	} {
		data, limits := tables(tc.rows...)
		got, err := readATA(ataDisk{identified("ACME SSD", tc.rotation, on), data, limits, tc.statistics, tc.failing})
		if d := cmp.Diff(tc.want, got); err != nil || d != "" {
			t.Errorf("%s: error %v, health (-want +got):\n%s", tc.name, err, d)
		}
	}
	for name, d := range map[string]ataDisk{
		"SMART off": {id: identified("x", ssd, 0)}, "no ATA disk": {}, "half an answer": {id: make([]byte, 100)},
	} {
		if _, err := readATA(d); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: error %v, want %v", name, err, ErrUnsupported)
		}
	}
}

type nvmeDisk struct{ id, log []byte }

func (d nvmeDisk) identify() ([]byte, error) { return d.id, nil }
func (d nvmeDisk) health() ([]byte, error)   { return d.log, nil }

func TestNVMe(t *testing.T) {
	id, log := make([]byte, 4096), make([]byte, 512)
	copy(id[4:], "N1                  FAST DRIVE ")
	log[0], log[5] = 1<<0|1<<1|1<<3, 103
	binary.LittleEndian.PutUint16(log[1:], 273+55)
	log[128], log[160] = 9, 4
	got, err := readNVMe(nvmeDisk{id, log})
	want := Health{Model: "FAST DRIVE", Serial: "N1", Failing: true,
		Why:  []string{"spare blocks are running out", "it has made itself read-only"},
		Worn: 103, Celsius: 55, Hours: 9, Unreadable: 4, Replaced: -1}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("error %v, health (-want +got):\n%s", err, d)
	}
	if want := "FAST DRIVE, 103 % worn, 55 °C"; got.String() != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if _, err := readNVMe(nvmeDisk{id, log[:100]}); err == nil {
		t.Error("a short log is accepted")
	}
}

func TestPassThrough(t *testing.T) {
	for name, tc := range map[string]struct {
		c    ataCommand
		want []byte
	}{
		"identify": {ataCommand{command: ataIdentify}, []byte{0x85, 8, 14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0}},
		"log": {ataCommand{command: ataReadLogExt, low: 4, mid: 7, extended: true},
			[]byte{0x85, 9, 14, 0, 0, 0, 1, 0, 4, 0, 7, 0, 0, 0, 0x2f, 0}},
		"status": {ataCommand{command: ataSMART, feature: smartStatus, mid: smartMid, high: smartHigh, without: true},
			[]byte{0x85, 6, 0x20, 0, 0xda, 0, 0, 0, 0, 0, 0x4f, 0, 0xc2, 0, 0xb0, 0}},
	} {
		if d := cmp.Diff(tc.want, passThrough(tc.c)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestRegisters(t *testing.T) {
	for name, tc := range map[string]struct {
		sense     []byte
		mid, high byte
		ok        bool
	}{
		"descriptor":       {[]byte{0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12, 0, 0, 0, 0, 0, 0, 0, 0xf4, 0, 0x2c, 0, 0x50}, 0xf4, 0x2c, true},
		"other descriptor": {[]byte{0x72, 1, 0, 0, 0, 0, 0, 4, 0, 2, 0, 0}, 0, 0, false},
		"cut off":          {[]byte{0x72, 1, 0, 0, 0, 0, 0, 14, 9, 12, 0}, 0, 0, false},
		"fixed":            {[]byte{0xf0, 0, 1, 0, 0, 0, 0, 10, 0, 0, 0x4f, 0xc2}, 0x4f, 0xc2, true},
		"nothing":          {nil, 0, 0, false},
	} {
		mid, high, err := registers(tc.sense)
		if mid != tc.mid || high != tc.high || (err == nil) != tc.ok {
			t.Errorf("%s: %#x %#x, %v", name, mid, high, err)
		}
	}
}

func TestNotADisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sda")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(filepath.Dir(file), "none")} {
		if _, err := Read(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	if _, err := Read(file); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a file: %v, want %v", err, ErrUnsupported)
	}
}

func TestDiskOf(t *testing.T) {
	sys, dir := t.TempDir(), t.TempDir()
	part := filepath.Join(sys, "devices/pci/block/sda/sda4")
	if err := os.MkdirAll(part, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := DiskOf(sys, dir); err == nil {
		t.Error("found without a device")
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(sys, "dev/block", deviceNumber(st.Dev))
	if err := os.Symlink(part, link); err != nil {
		t.Fatal(err)
	}
	if got, err := DiskOf(sys, dir); got != "sda4" || err != nil {
		t.Errorf("whole disk: %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(part, "partition"), []byte("4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := DiskOf(sys, dir); got != "sda" || err != nil {
		t.Errorf("partition: %q, %v", got, err)
	}
}

func FuzzATA(f *testing.F) {
	data, limits := tables(row{attrReplaced, 1, 1, 10, 2}, row{231, 0, 88, 0, 0})
	f.Add(identified("ACME", 1, 1), data, limits, statistics(3, 0xc0))
	f.Add([]byte{}, []byte{1}, []byte(nil), []byte{0, 0, 7})
	f.Fuzz(func(t *testing.T, id, data, limits, statistics []byte) {
		h, err := readATA(ataDisk{id, data, limits, statistics, false})
		if err == nil && (h.Worn < -1 || h.Worn > 255 || h.Celsius > 255 || h.Failing != (len(h.Why) > 0)) {
			t.Errorf("impossible health %+v", h)
		}
	})
}

func FuzzSense(f *testing.F) {
	f.Add([]byte{0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12, 0, 0, 0, 0, 0, 0, 0, 0xf4, 0, 0x2c, 0, 0x50})
	f.Add([]byte{0x72, 1, 0, 0, 0, 0, 0, 14, 0, 0, 0})
	f.Fuzz(func(t *testing.T, sense []byte) {
		if mid, high, err := registers(sense); err != nil && (mid != 0 || high != 0) {
			t.Errorf("registers %#x %#x beside %v", mid, high, err)
		}
	})
}

func FuzzHealthLog(f *testing.F) {
	f.Add(make([]byte, 512))
	f.Fuzz(func(t *testing.T, log []byte) {
		h := unknown()
		if err := healthLog(log, &h); err == nil && (h.Hours < 0 || h.Unreadable < 0 || h.Celsius < -1) {
			t.Errorf("impossible health %+v", h)
		}
	})
}
