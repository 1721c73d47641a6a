package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const testSize = 4 << 30

func newTable(t testing.TB, size int64) *Table {
	t.Helper()
	table, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// testImage makes a sparse image file with a table.
func testImage(t testing.TB, size int64) (*os.File, *Table) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	table := newTable(t, size)
	if err := Write(f, table); err != nil {
		t.Fatal(err)
	}
	return f, table
}

// peer runs a partitioning tool on the image; it must find nothing wrong.
func peer(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "/usr/sbin/"+name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func checkByPeers(t *testing.T, path string) {
	t.Helper()
	if out := peer(t, "sgdisk", "-v", path); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk -v: %s", out)
	}
	peer(t, "sfdisk", "-V", path)
}

func TestNewIsWhatPeersRead(t *testing.T) {
	f, table := testImage(t, testSize)
	checkByPeers(t, f.Name())
	got := strings.ToLower(peer(t, "sfdisk", "-d", f.Name()))
	got = got[strings.Index(got, "label-id"):]
	var want strings.Builder
	fmt.Fprintf(&want, "label-id: %s\ndevice: %s\nunit: sectors\nfirst-lba: 34\nlast-lba: 8388574\nsector-size: 512\n\n", table.GUID, strings.ToLower(f.Name()))
	for i, p := range []struct {
		start, size uint64
		typ, name   string
	}{
		{2048, 1048576, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "esp"},
		{1050624, 2097152, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "root-a"},
		{3147776, 2097152, "4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "root-b"},
		{5376000, 3010560, "0fc63daf-8483-4772-8e79-3d69d8477de4", "perm"},
		{5244928, 131072, "3f0c2d0a-7a55-4f7b-9a36-1c6a5d6d6d69", "identity"},
	} {
		fmt.Fprintf(&want, "%s%d : start=%12d, size=%12d, type=%s, uuid=%s, name=%q\n",
			strings.ToLower(f.Name()), i+1, p.start, p.size, p.typ, table.Part(i+1).GUID, p.name)
	}
	if diff := cmp.Diff(want.String(), got); diff != "" {
		t.Errorf("sfdisk -d (-want +got):\n%s", diff)
	}
}

func TestNewRefusesSmallDisks(t *testing.T) {
	for _, size := range []int64{-1, 0, 1 << 20, MinSize - 1} {
		if _, err := New(size); !errors.Is(err, ErrTooSmall) {
			t.Errorf("New(%d) = %v, want %v", size, err, ErrTooSmall)
		}
	}
	for _, size := range []int64{MinSize, MinSize + 511, 2<<40 + 12345, 18_000_207_937_536} {
		table := newTable(t, size)
		if got := table.Part(Perm).Size(); got < PermMin || got > size-MinSize+PermMin {
			t.Errorf("/perm of a disk of %d bytes has %d", size, got)
		}
	}
}

func TestBothCopiesDecodeToTheSame(t *testing.T) {
	f, want := testImage(t, testSize)
	primary, err1 := readPrimary(f)
	backup, err2 := readBackup(f, testSize/SectorSize)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, got := range []*Table{primary, backup} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("decoded (-want +got):\n%s", diff)
		}
	}
}

func TestEveryFlippedByteIsNoticed(t *testing.T) {
	table := newTable(t, testSize)
	good := table.primary()
	for i := range good {
		if i >= headerSize && i < SectorSize {
			continue // reserved, outside the checksum
		}
		b := bytes.Clone(good)
		b[i] ^= 0x40
		if _, err := decode(b[:SectorSize], b[SectorSize:], 1); err == nil {
			t.Fatalf("byte %d of the primary copy changed unnoticed", i)
		}
	}
}

func TestReadOfShortDisks(t *testing.T) {
	for size := range int64(70) {
		b := make([]byte, size*SectorSize)
		if _, err := Read(bytes.NewReader(b), int64(len(b))); err == nil {
			t.Errorf("table found on %d empty sectors", size)
		}
	}
}

func FuzzRead(f *testing.F) {
	table := newTable(f, MinSize)
	f.Add(table.primary(), false)
	f.Add(table.backup(), true)
	f.Add([]byte(signature), false)
	f.Fuzz(func(t *testing.T, b []byte, backup bool) {
		var disk [70 * SectorSize]byte
		copy(disk[SectorSize:], b)
		if backup {
			clear(disk[:])
			copy(disk[len(disk)-backupSectors*SectorSize:], b)
		}
		got, err := Read(bytes.NewReader(disk[:]), int64(len(disk)))
		if err != nil {
			return
		}
		again, err := decode(got.primary()[:SectorSize], got.primary()[SectorSize:], 1)
		if err != nil {
			t.Fatalf("a table that was read cannot be written: %v", err)
		}
		if got.GUID != again.GUID || got.Sectors != again.Sectors {
			t.Errorf("%+v became %+v", got, again)
		}
		if g, err := got.grown(got.Sectors); err == nil && g.Part(Perm).Last < got.Part(Perm).Last {
			t.Error("growing made /perm smaller")
		}
	})
}

func TestGUIDText(t *testing.T) {
	const text = "01234567-89ab-cdef-0123-456789abcdef"
	g, err := ParseGUID(strings.ToUpper(text))
	if err != nil || g.String() != text {
		t.Errorf("ParseGUID = %v, %v", g, err)
	}
	want := GUID{0x67, 0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	if g != want {
		t.Errorf("on disk % x, want % x", g, want)
	}
	for _, bad := range []string{"", text[1:], text + "0", strings.ReplaceAll(text, "-", "0"), strings.Replace(text, "a", "g", 1), strings.Replace(text, "67", "6-", 1)} {
		if _, err := ParseGUID(bad); err == nil {
			t.Errorf("ParseGUID(%q) succeeded", bad)
		}
	}
	if a, b := NewGUID(), NewGUID(); a == b || a.String()[14] != '4' {
		t.Errorf("new GUIDs %v and %v", a, b)
	}
}
