//go:build vm && full

package powercut

import "testing"

// All cuts are checked, and as many are booted as `make powercut` boots, whose
// recordings and progress these are.
func TestAllPowerCuts(t *testing.T) {
	const boots = 100
	counts, _ := survives(t, "powercut", Options{Perms: 100, Boots: boots})
	if counts.Checked < 1000 || counts.Survived < boots {
		t.Errorf("%s, want at least 1000 checked and %d survived", counts, boots)
	}
}
