//go:build vm && full

package powercut

import (
	"path/filepath"
	"testing"

	"micromirror/packages/vm"
)

func TestUpdateAndConfigurationSurvive(t *testing.T) {
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	workloads, end, err := Workloads(t.Context(), filepath.Join(t.TempDir(), "workloads"), filepath.Join(build, "vm"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	for _, w := range workloads[1:] {
		t.Run(w.Name, func(t *testing.T) { survives(t, w, nil, 4) })
	}
}
