//go:build vm && full

package scenario

import (
	"path/filepath"
	"testing"

	"micromirror/packages/slot"
)

// Right after a bad release, a signed emergency brings back the first one, which
// is believed in as soon as any other.
func TestEmergencyDowngrade(t *testing.T) {
	t.Parallel()
	f := newField(t)
	f.upAndBack()
	f.offer(filepath.Join(f.dir, "release-0"), true)
	f.takes(f.first, slot.A)
}
