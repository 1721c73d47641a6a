//go:build vm

package scenario

import (
	"strings"
	"testing"

	"micromirror/packages/demo"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// The power fails in a phase of a synchronisation. The node comes up by itself,
// finishes, and has what upstream has.
func TestSyncOutlivesPowerCuts(t *testing.T) {
	dir, up := upstream(t, 1<<20)
	image := nodeOf(t, up, Faults)
	for _, phase := range syncPhases {
		run(t, phase, func(t *testing.T) {
			t.Parallel()
			option := " mm.fault=sync-" + phase + "-hang"
			m := vm.Prepare(t, vm.Config{Image: image})
			editEntry(t, m, slot.A, func(e slot.Entry) slot.Entry {
				e.Options += option
				return e
			})
			m.PowerOn()
			m.Wait(`mm syncd: demo-debian: hanging in ` + phase + ` as ordered`)
			m.PowerCut()
			editEntry(t, m, slot.A, func(e slot.Entry) slot.Entry {
				e.Options = strings.ReplaceAll(e.Options, option, "")
				return e
			})
			m.PowerOn()
			m.Wait(`mm syncd: demo-debian: (published|up to date)`)
			differences, err := demo.DiffHTTP(t.Context(), demo.Tree(dir, demo.Debian), m.URL("/"+demo.Debian+"/"))
			report(t, differences, err)
		})
	}
}
