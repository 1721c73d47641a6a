//go:build vm

package scenario

import (
	"testing"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// slow is for a computer that has much else to do: each case starts the machine
// twice.
const slow = 20 * time.Minute

// The power fails in a phase of a synchronisation that brings a node from one
// version of an archive to the next: other files, other indexes, deletions. The
// archive is whole whenever it is served: while the run hangs, while the node
// finishes what was interrupted, and afterwards, when it has what upstream has.
func TestSyncOutlivesPowerCuts(t *testing.T) {
	dir, up := upstream(t, 1<<20)
	disk := syncedDisk(t, nodeOf(t, up, Faults))
	if _, err := demo.Update(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	for _, phase := range syncPhases {
		run(t, phase, func(t *testing.T) {
			t.Parallel()
			// By its clock the daily run is overdue.
			m := vm.Prepare(t, vm.Config{Image: disk, Clock: time.Now().Add(48 * time.Hour), Timeout: slow})
			usual := entry(t, m, slot.A).Options
			order := func(faults string) {
				editEntry(t, m, slot.A, func(e slot.Entry) slot.Entry {
					e.Options = usual + " mm.fault=sync-no-grace" + faults
					return e
				})
			}
			order(",sync-" + phase + "-hang")
			m.PowerOn()
			m.Wait(`mm syncd: demo-debian: hanging in ` + phase + ` as ordered`)
			wholeArchive(t, m)
			m.PowerCut()
			order("")
			m.PowerOn()
			stop := watchArchive(t, m)
			m.Wait(`mm syncd: demo-debian: (published|up to date)`)
			stop()
			wholeArchive(t, m)
			differences, err := demo.DiffHTTP(t.Context(), demo.Tree(dir, demo.Debian), m.URL("/"+demo.Debian+"/"))
			report(t, differences, err)
			useApt(t, m, dir)
		})
	}
}

// syncedDisk is the disk of a node that has everything that upstream has.
func syncedDisk(t *testing.T, image string) string {
	t.Helper()
	m := vm.Start(t, vm.Config{Image: image, Timeout: slow})
	for range demo.Modules() { // in whatever order they come
		m.Wait(`mm syncd: demo-\w+: published`)
	}
	m.Shutdown()
	m.Retire() // its disk is all that is wanted
	return m.Disk().Path
}
