//go:build vm

package powercut

import (
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/vm"
)

// What is done every day: cuts that are checked offline, and cuts that are booted.
const (
	everydayChecks = 300
	everydayBoots  = 10
)

// folders returns where the recordings and the machines are.
func folders(t *testing.T, name string) (dir, machines string) {
	t.Helper()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(build, name), filepath.Join(build, "vm")
}

// A node survives power cuts during its first boot. Updates and changes of the
// configuration take longer, see TestAllPowerCuts.
func TestFirstBootSurvives(t *testing.T) {
	w, err := FirstBoot()
	if err != nil {
		t.Fatal(err)
	}
	dir, machines := folders(t, "powercut-test")
	t.Cleanup(func() { os.RemoveAll(dir) })
	counts, err := Run(t.Context(), Options{
		Dir: dir, Machines: machines, Workloads: []Workload{w},
		Checks: everydayChecks, Perms: 10, Boots: everydayBoots, Together: 2, Log: t.Output(),
	})
	if err != nil {
		t.Error(err)
	}
	if counts.Checked < everydayChecks*9/10 || counts.Booted != everydayBoots || counts.Survived != everydayBoots {
		t.Errorf("%s, want %d checked and %d booted", counts, everydayChecks, everydayBoots)
	}
}
