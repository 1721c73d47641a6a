//go:build vm

package scenario

import (
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// damage is a way in which the preferred slot can be bad.
type damage struct {
	name string
	do   func(t *testing.T, d vm.Disk) error
	cfg  vm.Config
}

// fault adds a fault point to slot a's command line.
func fault(name string) func(*testing.T, vm.Disk) error {
	return func(_ *testing.T, d vm.Disk) error {
		return EditEntry(d, slot.A, func(e slot.Entry) slot.Entry {
			e.Options += " mm.fault=" + name + " mm.watchdog=12"
			return e
		})
	}
}

var damages = []damage{
	{name: "root garbage", do: func(_ *testing.T, d vm.Disk) error { return d.Scramble(vm.RootA, 0, 1<<20) }},
	{name: "root flipped bit", do: func(_ *testing.T, d vm.Disk) error { return d.FlipBit(vm.RootA, 40) }},
	{name: "root without init", do: func(t *testing.T, d vm.Disk) error { return EmptyRoot(t.Context(), d, t.TempDir()) }},
	{name: "kernel panic", do: fault("initrd-panic")},
	{name: "kernel garbage", do: func(_ *testing.T, d vm.Disk) error { return d.ESPScramble("slot-a/vmlinuz") }},
	{name: "kernel truncated", do: func(_ *testing.T, d vm.Disk) error { return d.ESPTruncate("slot-a/vmlinuz", 5<<20) }},
	{name: "initramfs truncated", do: func(_ *testing.T, d vm.Disk) error { return d.ESPTruncate("slot-a/initrd", 1<<20) }},
	{name: "initramfs hang", do: fault("initrd-hang"), cfg: vm.Config{Watchdog: vm.ITCO}},
	{name: "userland hang", do: fault("userland-hang")},
	{name: "never healthy", do: fault("never-bless")},
}

// baseImage is written once a test process; each machine copies it.
func baseImage(t *testing.T, kind Kind) string {
	t.Helper()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(build, "scenario")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(dir, "base")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(work) })
	out := filepath.Join(work, "node.img")
	if err := Image(t.Context(), out, ImageOptions{Kind: kind}); err != nil {
		t.Fatal(err)
	}
	return out
}

// damaged prepares a machine whose slot a is bad and has so many tries left.
func damaged(t *testing.T, image string, dmg damage, tries int) *vm.VM {
	t.Helper()
	cfg := dmg.cfg
	cfg.Image = image
	m := vm.Prepare(t, cfg)
	if err := dmg.do(t, m.Disk()); err != nil {
		t.Fatal(err)
	}
	err := EditEntry(m.Disk(), slot.A, func(e slot.Entry) slot.Entry { return e.WithTries(tries) })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A preferred slot that cannot run gives way to the other one, by itself, when
// its tries are used up. The everyday run gives each damage its last try; the full
// one gives all three.
func TestBadSlotFallsBack(t *testing.T) {
	image := baseImage(t, Faults)
	for _, dmg := range damages {
		run(t, dmg.name, func(t *testing.T) {
			t.Parallel()
			m := damaged(t, image, dmg, badSlotTries)
			m.PowerOn()
			fallsBack(t, m, badSlotTries)
		})
	}
}

// fallsBack waits until slot b has started by itself, and looks at what became of
// slot a's tries.
func fallsBack(t *testing.T, m *vm.VM, tries int) {
	t.Helper()
	if others := m.WaitSlot("b"); others > tries {
		t.Errorf("slot a was started %d times, want at most %d", others, tries)
	}
	m.Wait(`mm initrd: switching root`)
	m.PowerCut()
	if e := entry(t, m, slot.A); !e.Bad() {
		t.Errorf("slot a has %d tries left after the fallback, want 0", e.TriesLeft)
	}
}

// entry is a slot's entry on the disk of a machine that is off.
func entry(t *testing.T, m *vm.VM, n slot.Name) slot.Entry {
	t.Helper()
	e, _, err := Entry(m.Disk(), n)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// editEntry changes a slot's entry on the disk of a machine that is off.
func editEntry(t *testing.T, m *vm.VM, n slot.Name, edit func(slot.Entry) slot.Entry) {
	t.Helper()
	if err := EditEntry(m.Disk(), n, edit); err != nil {
		t.Fatal(err)
	}
}

func fullTries(t *testing.T, m *vm.VM) {
	t.Helper()
	if e := entry(t, m, slot.A); e.TriesLeft != slot.FullTries {
		t.Errorf("slot a is %s, want %d tries left", e.FileName(), slot.FullTries)
	}
}

// Two power cuts while a new slot is on trial do not condemn it: the third boot
// finds it healthy and makes its tries full. When its kernel rots later, the node
// comes up in the other slot all the same. The processor is one of the smallest
// supported. One try more than a trial has is for the emulator, whose firmware or
// kernel resets once in many boots when the computer is busy.
func TestTrialOutlivesPowerCuts(t *testing.T) {
	t.Parallel()
	m := vm.Prepare(t, vm.Config{Image: baseImage(t, Shipped), MissingCPU: vm.NotOnJaguar()})
	editEntry(t, m, slot.A, func(e slot.Entry) slot.Entry { return e.WithTries(slot.TrialTries + 1) })
	m.PowerOn()
	m.Wait(`mm initrd: start`)
	m.Restart()
	m.Wait(`mm updated: slot a on trial, [12] tries left`)
	m.Restart()
	m.Wait(`mm updated: slot a healthy, re-armed`)
	m.PowerCut()
	fullTries(t, m)
	if err := m.Disk().ESPScramble("slot-a/vmlinuz"); err != nil {
		t.Fatal(err)
	}
	m.PowerOn()
	fallsBack(t, m, slot.FullTries)
}

// The newest generation is chosen, whatever its release is called.
func TestNewestGenerationBoots(t *testing.T) {
	t.Parallel()
	m := vm.Prepare(t, vm.Config{Image: baseImage(t, Shipped)})
	newest := entry(t, m, slot.A).Generation + 1
	editEntry(t, m, slot.B, func(e slot.Entry) slot.Entry {
		e.Generation, e.Release = newest, "2020.01.01-0000000"
		return e.WithTries(slot.TrialTries)
	})
	editEntry(t, m, slot.A, slot.Entry.WithoutCounter)
	m.PowerOn()
	if got := m.WaitBoot(); got != "b" {
		t.Errorf("slot %s was started, want b", got)
	}
}
