//go:build vm && full

package powercut

import "testing"

// A node survives power cuts during its first boot, an update and a change of its
// configuration, and finishes what it was at. All cuts are checked, and as many are
// booted as `make powercut` boots, whose recordings and progress these are.
func TestAllPowerCuts(t *testing.T) {
	const boots = 100
	dir, machines := folders(t, "powercut")
	workloads, end, err := Workloads(t.Context(), dir, machines)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := Run(t.Context(), Options{
		Dir: dir, Machines: machines, Workloads: workloads, Perms: 100, Boots: boots, Together: 2, Log: t.Output(),
	})
	if err != nil {
		t.Error(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if counts.Checked < 1000 || counts.Survived < boots {
		t.Errorf("%s, want at least 1000 checked and %d survived", counts, boots)
	}
}
