//go:build faults

package mirror

import (
	"strings"
	"sync"
	"time"

	"micromirror/packages/fault"
)

// Faults returns the Job.Fault of a node whose kernel command line orders, with
// mm.fault=NAME[,NAME…] in an image built with the tag "faults":
//
//	sync-PHASE-hang  stops for ever when a run comes to that phase
//	sync-no-grace    what vanished upstream is deleted at once (see Grace)
//
// PHASE is list, fetch, verify, journal (before the plan is the journal), publish
// (before the first file of the content), switch (before the index files become
// valid), index (before the first of them is in the tree), settle (before the
// edition is withdrawn) or delete. report is told of it, so that whoever wants to
// cut the power there knows when.
func Faults(cmdline string, report func(phase string)) func(step string) error {
	ordered := fault.Ordered(cmdline)
	var mu sync.Mutex
	switched := false
	return func(step string) error {
		mu.Lock()
		phase := phaseOfStep(step, switched)
		switched = switched || phase == "switch"
		mu.Unlock()
		if ordered.Has("sync-" + phase + "-hang") {
			report(phase)
			for {
				time.Sleep(time.Hour)
			}
		}
		return nil
	}
}

// Grace is the grace period of such a node.
func Grace(cmdline string, usual time.Duration) time.Duration {
	if fault.Ordered(cmdline).Has("sync-no-grace") {
		return 0
	}
	return usual
}

func phaseOfStep(step string, switched bool) string {
	verb, _, _ := strings.Cut(step, " ")
	switch verb {
	case "bring":
		return "switch"
	case "file", "hard", "link":
		if switched {
			return "index"
		}
		return "publish"
	case "drop":
		return "delete"
	case "switch": // only marks where the index files begin
		return ""
	}
	return verb
}
