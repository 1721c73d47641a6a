//go:build vm && full

package scenario

import (
	"testing"

	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// A slot that was healthy, and has all its tries, may rot in any part: the node
// ends in the other slot and stays there, healthy.
func TestHealthySlotRotsLater(t *testing.T) {
	image := baseImage(t, Faults)
	for name, rot := range map[string]func(vm.Disk) error{
		"root":   func(d vm.Disk) error { return d.Scramble(vm.RootA, 0, 1<<20) },
		"initrd": func(d vm.Disk) error { return d.ESPScramble("slot-a/initrd") },
		"kernel": func(d vm.Disk) error { return d.ESPScramble("slot-a/vmlinuz") },
	} {
		run(t, name, func(t *testing.T) {
			t.Parallel()
			m := healthySlot(t, image)
			if err := rot(m.Disk()); err != nil {
				t.Fatal(err)
			}
			m.PowerOn()
			fallsBack(t, m, slot.FullTries)
			m.PowerOn()
			if got := m.WaitBoot(); got != "b" {
				t.Errorf("slot %s was started, want b", got)
			}
			m.Wait(`mm updated: slot b is the fallback`)
			m.Wait(`mm updated: slot b healthy`)
		})
	}
}

// healthySlot makes a machine whose slot a was found healthy and has all its tries.
func healthySlot(t *testing.T, image string) *vm.VM {
	t.Helper()
	m := vm.Start(t, vm.Config{Image: image})
	m.Wait(`mm updated: slot a healthy, re-armed`)
	m.PowerCut()
	fullTries(t, m)
	return m
}

// With both slots damaged a node says why it cannot start, each time, and tries the
// one that was the last to be good on and on: what ails it may pass, as when a disk
// reads badly while it is cold.
func TestBothSlotsBad(t *testing.T) {
	t.Parallel()
	m := vm.Prepare(t, vm.Config{Image: baseImage(t, Faults)})
	var good []byte
	for _, p := range []vm.Partition{vm.RootA, vm.RootB} {
		var err error
		if good, err = m.Disk().ReadAt(p, 0, 4096); err != nil {
			t.Fatal(err)
		}
		if err := m.Disk().WriteAt(p, 0, make([]byte, len(good))); err != nil {
			t.Fatal(err)
		}
	}
	editEntry(t, m, slot.A, func(e slot.Entry) slot.Entry { return e.WithTries(1) })
	m.PowerOn()
	for _, want := range []string{"a", "b", "b", "b"} {
		if got := m.WaitBoot(); got != want {
			t.Fatalf("slot %s was started, want %s", got, want)
		}
		m.Wait(`device-mapper: verity: .*corrupted|mm initrd: FAIL: .*root`)
	}
	m.PowerCut()
	if err := m.Disk().WriteAt(vm.RootB, 0, good); err != nil {
		t.Fatal(err)
	}
	m.PowerOn()
	if got := m.WaitBoot(); got != "b" {
		t.Fatalf("slot %s was started, want b", got)
	}
	m.Wait(`mm updated: slot b is the fallback`)
}
