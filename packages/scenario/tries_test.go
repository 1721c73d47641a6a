//go:build vm && !full

package scenario

import "testing"

// badSlotTries is how many tries a bad slot gets; the full run gives all.
const badSlotTries = 1

// run is t.Run; the full run remembers what passed.
func run(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, f)
}

// syncPhases are those in which the power fails: the one in the middle of the
// publish; the full run takes all.
var syncPhases = []string{"index"}
