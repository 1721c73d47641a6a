//go:build vm && full

package scenario

import (
	"micromirror/packages/demo"
	"micromirror/packages/slot"
)

const (
	badSlotTries = slot.TrialTries
	largeFile    = demo.LargeSize
)
