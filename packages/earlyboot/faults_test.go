//go:build faults

package earlyboot

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFaultsAreOrderedOnTheCommandLine(t *testing.T) {
	for cmdline, want := range map[string][]string{
		"ro quiet": nil, "mm.fault=initrd-hang ro": {"initrd-hang"}, "mm.fault=perm-bad,perm-remake-reset": {"perm-bad", "perm-remake-reset"},
	} {
		b := &boot{cmdline: cmdline}
		if d := cmp.Diff(want, b.faults()); d != "" {
			t.Errorf("%q (-want +got):\n%s", cmdline, d)
		}
	}
	b := &boot{cmdline: "mm.fault=perm-bad"}
	if b.e2fsck() == E2fsck {
		t.Error("perm-bad leaves e2fsck in place")
	}
	if !b.beyondRepair(errors.New("any")) {
		t.Error("perm-bad is not beyond repair")
	}
	b.fault("initrd") // not ordered: comes back
}
