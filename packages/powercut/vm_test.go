//go:build vm

package powercut

import (
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/vm"
)

// everydayChecks is how many cuts of each workload are checked offline every day.
const everydayChecks = 300

// survives records a workload and checks cuts spread over it, and boots some.
func survives(t *testing.T, w Workload, err error, boots int) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(build, "powercut-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	counts, err := Run(t.Context(), Options{
		Dir: dir, Machines: filepath.Join(build, "vm"), Workloads: []Workload{w},
		Checks: everydayChecks, Perms: 10, Boots: boots, Log: t.Output(),
	})
	if err != nil {
		t.Error(err)
	}
	if counts.Checked < everydayChecks*9/10 || counts.Booted != boots || counts.Survived != boots {
		t.Errorf("%s, want %d checked and %d booted", counts, everydayChecks, boots)
	}
}

func TestFirstBootSurvives(t *testing.T) {
	w, err := FirstBoot()
	survives(t, w, err, 2)
}
