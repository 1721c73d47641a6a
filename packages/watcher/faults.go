//go:build faults

package watcher

import (
	"time"

	"micromirror/packages/fault"
)

// Faults shortens the patience to a minute if a test orders quick-watch on the
// kernel command line of an image built with the tag "faults" (package fault).
func Faults(cmdline string, patience time.Duration) time.Duration {
	if fault.Ordered(cmdline).Has("quick-watch") {
		return time.Minute
	}
	return patience
}
