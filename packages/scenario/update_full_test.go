//go:build vm && full

package scenario

import (
	"testing"

	"micromirror/packages/slot"
)

// Right after a bad release, a signed emergency brings a release that is older than
// the one the node was born with, which is believed in as soon as any other.
func TestEmergencyDowngrade(t *testing.T) {
	t.Parallel()
	f := newFieldOf(t, 1, hasty, "")
	f.m.Wait(`mm updated: slot a healthy, re-armed`)
	bad, badVersion := f.variant(2, hasty+",never-bless", nil)
	f.offer(bad, false)
	f.leaves(badRelease{name: "never healthy", why: `.*ordered by a test`}, badVersion)
	older, version := f.variant(0, hasty, nil)
	f.offer(older, true)
	f.takes(version, slot.B)
}
