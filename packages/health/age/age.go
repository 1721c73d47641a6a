// Package age words durations for people, so roughly that the words seldom
// change: what is shown once a second need not flicker, and what is logged on
// change not be logged again.
//
// It promises a whole number and a unit for any duration, none for what has not
// passed yet. It owns no files and cannot fail.
package age

import (
	"fmt"
	"time"
)

// Text says how long something is ago.
func Text(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", max(int(d.Seconds()), 0))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}
