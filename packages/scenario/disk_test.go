//go:build vm

package scenario

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/status"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// nodeReport is what the node says about itself and its projects.
func nodeReport(t *testing.T, m *vm.VM) status.Report {
	t.Helper()
	var r status.Report
	if err := json.Unmarshal(m.Get("/status.json"), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// A second disk that is a node's disk too, and newer, changes nothing: kernel,
// root, /perm and identity come from the disk that the firmware booted, and the
// other one is not written to.
func TestTwoDisks(t *testing.T) {
	t.Parallel()
	other := filepath.Join(t.TempDir(), "other.img")
	err := Image(t.Context(), other, ImageOptions{Kind: Shipped, Fleet: func(f map[string]any) { f["domain"] = "other.example" }})
	if err != nil {
		t.Fatal(err)
	}
	err = EditEntry(vm.Disk{Path: other}, slot.B, func(e slot.Entry) slot.Entry {
		e.Generation = 9
		return e
	})
	if err != nil {
		t.Fatal(err)
	}
	before := writtenAt(t, other)
	m := vm.Start(t, vm.Config{Image: baseImage(t, Shipped), Disks: []string{other}})
	if got := m.WaitBoot(); got != "a" {
		t.Errorf("slot %s was started, want a, which the other disk does not prefer", got)
	}
	if r := nodeReport(t, m); strings.Contains(r.Node, "other") {
		t.Errorf("the node calls itself %s, which is what the other disk says", r.Node)
	}
	m.PowerCut()
	if after := writtenAt(t, other); after != before {
		t.Errorf("the other disk was written to at %v", after)
	}
}

// writtenAt is when a file was last changed.
func writtenAt(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.ModTime().UnixNano()
}

// permFills checks that the file system of /perm is sound and as large as its
// partition, and that the partition reaches to the end of the disk.
func permFills(t *testing.T, m *vm.VM, size int64) {
	t.Helper()
	d := m.Disk()
	if said, err := d.CheckPerm(); err != nil {
		t.Errorf("/perm: %v\n%s", err, said)
	}
	e, err := d.Extent(vm.Perm)
	if err != nil {
		t.Fatal(err)
	}
	const table = 4 << 20 // backup table and alignment
	if end := e.Offset + e.Size; end < size-table {
		t.Errorf("/perm ends at byte %d of a disk of %d", end, size)
	}
	super, err := d.ReadAt(vm.Perm, 1024, 1024)
	if err != nil {
		t.Fatal(err)
	}
	blocks := int64(binary.LittleEndian.Uint32(super[4:])) | int64(binary.LittleEndian.Uint32(super[0x150:]))<<32
	const group = 128 << 20 // a last group too small to be of use is left out
	if got := blocks * 4096; got > e.Size || got < e.Size-group {
		t.Errorf("the file system has %d bytes, its partition %d", got, e.Size)
	}
}

// wipe empties a partition.
func wipe(t *testing.T, d vm.Disk, p vm.Partition) {
	t.Helper()
	e, err := d.Extent(p)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.Offset, e.Size); err != nil {
		t.Fatal(err)
	}
}
