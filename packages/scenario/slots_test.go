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
		t.Run(dmg.name, func(t *testing.T) {
			t.Parallel()
			m := damaged(t, image, dmg, badSlotTries)
			m.PowerOn()
			if others := m.WaitSlot("b"); others > badSlotTries {
				t.Errorf("slot a was started %d times, want at most %d", others, badSlotTries)
			}
			m.Wait(`mm initrd: switching root`)
			m.PowerCut()
			e, _, err := Entry(m.Disk(), slot.A)
			if err != nil {
				t.Fatal(err)
			}
			if !e.Bad() {
				t.Errorf("slot a has %d tries left after the fallback, want 0", e.TriesLeft)
			}
		})
	}
}
