package update

import (
	"encoding/json"
	"os"
	"time"

	"micromirror/packages/clock"
)

// Reference returns the time at which expiry is judged. A clock that no time
// server has set may say anything: then it is the last time that was known to be
// right, so that a clock in 1970 does not bring expired metadata back to life and
// one in 2099 does not close the channel. What was seen gives way to a trusted
// clock that is more than a day behind it, or one lying server would close the
// channel for ever.
func Reference(now time.Time, trusted bool, built, seen time.Time) time.Time {
	floor := built
	if seen.After(floor) && !(trusted && now.Before(seen.Add(-maxBack))) {
		floor = seen
	}
	if trusted && now.After(floor) {
		return now
	}
	return floor
}

const maxBack = 24 * time.Hour

// Clock returns a clock and whether time servers keep it right, by what the clock
// daemon says in file.
func Clock(file string) func() (now time.Time, trusted bool) {
	return func() (time.Time, bool) {
		var r clock.Report
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		return time.Now(), err == nil && r.Synced
	}
}
