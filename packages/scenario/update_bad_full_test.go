//go:build vm && full

package scenario

import (
	"testing"

	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// illness is what makes a release bad, by a fault that its command line orders.
type illness struct{ name, fault, says string }

// illnesses of a release; the disk that the last one fills stays full.
var illnesses = []illness{
	{"updated ends", "updated-ends,quick-watch", unwatched},
	// The kernel may find pages to drop for minutes before it ends a program.
	{"exhausted memory", "ntpd-hoards,short-trial", `Out of memory|mm updated: unhealthy: .*, rebooting`},
	{"no network", "netd-ends,short-trial", `mm updated: unhealthy: .*link: .*, rebooting`},
	// It would have proved itself after three minutes, and is ill after one and a half.
	{"healthy for a minute", "sick-later", `mm updated: unhealthy: fault: ordered by a test, rebooting`},
	{"first process ends", "initrd-exit", `Kernel panic`},
	{"updated hangs", "updated-hangs,quick-watch", unwatched},
	{"kernel panics", "initrd-panic", `Kernel panic`},
	{"full disk", "ntpd-fills,short-trial", `mm updated: unhealthy: .*room: the disk is full: .*, rebooting`},
}

const unwatched = `mm consoled: nobody watches this node's health, rebooting`

// Whatever is bad about a release, the node leaves it by itself. To save time it is
// the release in slot b that falls ill, in one way after the other, each time in
// what it is told is its last try; TestBadReleasesOverTheAir has bad ones that
// travel, and what the node remembers of them.
func TestReleasesBadInOtherWays(t *testing.T) {
	t.Parallel()
	m := vm.Prepare(t, vm.Config{Image: baseImage(t, Faults), Timeout: patience})
	m.PowerOn()
	m.Wait(`mm updated: slot a healthy, re-armed`) // from now on what it has counts
	m.PowerCut()
	editEntry(t, m, slot.A, slot.Entry.WithoutCounter)
	well := entry(t, m, slot.B)
	well.Generation = entry(t, m, slot.A).Generation + 1
	for _, ill := range illnesses {
		m.PowerCut()
		falls(t, m, well, ill)
	}
	// The last of them has left the disk full.
	m.Wait(`mm updated: slot a healthy`)
	m.Get("/")
}

// falls starts an ill slot b on a machine that is off, and waits until slot a
// starts by itself.
func falls(t *testing.T, m *vm.VM, well slot.Entry, ill illness) {
	t.Helper()
	editEntry(t, m, slot.B, func(slot.Entry) slot.Entry {
		e := well.WithTries(1)
		e.Options += " mm.fault=" + ill.fault
		return e
	})
	m.PowerOn()
	if got := m.WaitBoot(); got != "b" {
		t.Fatalf("%s: slot %s was started, want b", ill.name, got)
	}
	line := m.Wait(ill.says)
	if got := m.WaitBoot(); got != "a" {
		t.Errorf("%s: slot %s was started after the last try, want a", ill.name, got)
	}
	t.Logf("%s: left by itself; %v after power-on: %s", ill.name, line.At, line.Text)
}
