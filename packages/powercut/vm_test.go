//go:build vm

package powercut

import (
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/vm"
)

// What is done every day: cuts of each workload that are checked offline, and cuts
// of all of them that are booted.
const (
	everydayChecks = 300
	everydayBoots  = 12
)

// survives records all workloads below build, checks cuts spread over them, and
// boots some. It goes on where an earlier run in the same folder stopped.
func survives(t *testing.T, name string, o Options) (Counts, int) {
	t.Helper()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	o.Dir, o.Machines, o.Together, o.Log = filepath.Join(build, name), filepath.Join(build, "vm"), 2, t.Output()
	workloads, end, err := Workloads(t.Context(), o.Dir, o.Machines)
	if err != nil {
		t.Fatal(err)
	}
	o.Workloads = workloads
	counts, err := Run(t.Context(), o)
	if err != nil {
		t.Error(err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	return counts, len(workloads)
}

// A node survives power cuts during its first boot, an update and a change of its
// configuration, and finishes what it was at.
func TestPowerCuts(t *testing.T) {
	const name = "powercut-test"
	t.Cleanup(func() { os.RemoveAll(filepath.Join("..", "..", "build", name)) })
	counts, workloads := survives(t, name, Options{Checks: everydayChecks, Perms: 10, Boots: everydayBoots})
	if counts.Checked < workloads*everydayChecks*9/10 || counts.Booted != everydayBoots || counts.Survived != everydayBoots {
		t.Errorf("%s, want %d of each workload checked and %d booted", counts, everydayChecks, everydayBoots)
	}
}
