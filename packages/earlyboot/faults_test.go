//go:build faults

package earlyboot

import (
	"errors"
	"testing"
)

func TestFaultsAreOrderedOnTheCommandLine(t *testing.T) {
	b := &boot{cmdline: "mm.fault=perm-bad"}
	if b.e2fsck() == E2fsck {
		t.Error("perm-bad leaves e2fsck in place")
	}
	if !b.beyondRepair(errors.New("any")) {
		t.Error("perm-bad is not beyond repair")
	}
	b.fault("initrd") // not ordered: comes back
}
