//go:build vm

package scenario

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// /perm takes care of itself: it grows to a disk larger than the image, comes back
// from a damaged partition table and superblock, and is made anew when nothing of
// it is left; then the node gets its identity back. The node serves after each.
func TestPermWithoutHands(t *testing.T) {
	t.Parallel()
	const size = 6 << 30
	m := vm.Prepare(t, vm.Config{Image: baseImage(t, Shipped), Size: size})

	m.PowerOn()
	m.Wait(`mm initrd: partition table of \S+ repaired or extended`)
	m.Wait(`mm updated: /perm has grown to its partition`)
	serves(t, m)
	m.Shutdown()
	permFills(t, m, size)

	table := primaryGPT(t, m.Disk())
	if err := m.Disk().WriteRaw(gptAt, make([]byte, len(table))); err != nil {
		t.Fatal(err)
	}
	if err := m.Disk().Scramble(vm.Perm, 0, 4096); err != nil { // primary superblock
		t.Fatal(err)
	}
	m.PowerOn()
	m.Wait(`mm initrd: /perm \S+ is repaired`)
	serves(t, m)
	if said(m, "identity restored") != 1 { // at the first boot
		t.Error("the repaired /perm had lost the node's files")
	}
	m.PowerCut()
	if !bytes.Equal(primaryGPT(t, m.Disk()), table) { // by us, or by a firmware that does that
		t.Error("the primary partition table was not restored")
	}

	wipe(t, m.Disk(), vm.Perm)
	m.PowerOn()
	m.Wait(`mm initrd: /perm \S+ made anew`)
	m.Wait(`mm updated: identity restored: fleet.json, node.json`)
	m.Wait(`mm updated: /perm has grown to its partition`)
	serves(t, m)
	m.Shutdown()
	permFills(t, m, size)
	if e := entry(t, m, slot.A); e.Bad() {
		t.Error("slot a lost its tries over /perm")
	}
}

// gptAt is where the primary partition table begins.
const gptAt = 512

// primaryGPT reads header and entries of the primary partition table.
func primaryGPT(t *testing.T, d vm.Disk) []byte {
	t.Helper()
	f, err := os.Open(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := make([]byte, 33*512)
	if _, err := f.ReadAt(table, gptAt); err != nil {
		t.Fatal(err)
	}
	return table
}

// serves waits until the node answers as itself.
func serves(t *testing.T, m *vm.VM) {
	t.Helper()
	if r := nodeReport(t, m); len(r.Projects) != 3 {
		t.Errorf("the node %q tells of %d projects, want 3", r.Node, len(r.Projects))
	}
}

// said counts the console lines with a text, over all boots.
func said(m *vm.VM, text string) (n int) {
	for _, l := range m.Console() {
		if strings.Contains(l.Text, text) {
			n++
		}
	}
	return n
}
