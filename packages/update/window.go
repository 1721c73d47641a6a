package update

import (
	"fmt"
	"strings"
	"time"
)

// Window is the time of day, in UTC, in which a node may reboot into a release.
// The zero value is any time.
type Window struct {
	from, to time.Duration // since midnight; to may be the day after
}

// ParseWindow reads "02:00-05:00"; an empty string is any time.
func ParseWindow(s string) (Window, error) {
	if s == "" {
		return Window{}, nil
	}
	var w Window
	from, to, ok := strings.Cut(s, "-")
	for i, part := range []string{from, to} {
		t, err := time.Parse("15:04", part)
		if err != nil || !ok {
			return Window{}, fmt.Errorf("maintenance window %q: write it like 02:00-05:00, in UTC", s)
		}
		d := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
		if i == 0 {
			w.from = d
		} else {
			w.to = d
		}
	}
	if w.to == w.from {
		return Window{}, fmt.Errorf("maintenance window %q: is empty; leave it out for any time", s)
	}
	if w.to < w.from {
		w.to += day
	}
	return w, nil
}

const day = 24 * time.Hour

// Until returns how long the window stays closed; zero when it is open.
func (w Window) Until(now time.Time) time.Duration {
	if w == (Window{}) {
		return 0
	}
	now = now.UTC()
	since := now.Sub(now.Truncate(day))
	switch {
	case since >= w.from && since < w.to, since+day >= w.from && since+day < w.to:
		return 0
	case since < w.from:
		return w.from - since
	default:
		return w.from + day - since
	}
}
