//go:build vm && full

package scenario

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/vm"
)

// An image of 4 GiB written to a disk of 2 TB grows to it at the first boot, is
// usable meanwhile, is sound, and little is written to the disk for that.
func TestGrowsToLargeDisk(t *testing.T) {
	const size, written = 2_000_398_934_016, 8 << 30
	image := baseImage(t, Shipped)
	run(t, "2 TB", func(t *testing.T) {
		m := vm.Start(t, vm.Config{Image: image, Size: size, Timeout: 20 * time.Minute})
		nodeReport(t, m)
		m.Wait(`mm updated: /perm has grown to its partition`)
		m.Wait(`mm updated: slot a healthy, re-armed`)
		m.Shutdown()
		permFills(t, m, size)
		var st unix.Stat_t
		if err := unix.Stat(m.Disk().Path, &st); err != nil {
			t.Fatal(err)
		}
		if got := st.Blocks * 512; got > written {
			t.Errorf("the disk of 2 TB has %d bytes written, want at most %d", got, written)
		}
	})
}
