package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"micromirror/packages/project"
)

// A project is synchronised daily, with an hour of jitter, and it may be that one
// run fails. Most projects drop a mirror that is two days behind.
const (
	daily   = 26 * time.Hour
	longest = 48 * time.Hour
)

// Bound is how long ago a project's last synchronisation may be: what its
// checker allows, but not less than a daily run needs.
func Bound(p project.Project) time.Duration {
	if p.Freshness.MaxAge == 0 {
		return longest
	}
	return min(max(time.Duration(p.Freshness.MaxAge)*time.Hour, daily), longest)
}

// Project returns a check that a project is served, that its last
// synchronisation is not older than limit, and that what it brought is not
// stale. Its state is in file.
func Project(file string, limit time.Duration, now func() time.Time) func(context.Context) error {
	return func(context.Context) error {
		var p struct {
			Status      string    `json:"status"`
			LastUpdate  time.Time `json:"last_update"`
			ContentTime time.Time `json:"content_time"`
			Stale       bool      `json:"stale"`
			Error       string    `json:"error_msg"`
			Serving     bool      `json:"serving"`
		}
		if err := read(file, &p); err != nil {
			return err
		}
		age := now().Sub(p.LastUpdate)
		switch {
		case p.LastUpdate.IsZero() && p.Error != "":
			return fmt.Errorf("never synchronised: %s", p.Error)
		case p.LastUpdate.IsZero() && p.Status == "syncing":
			return Fact("first synchronisation is running")
		case p.LastUpdate.IsZero():
			return errors.New("not synchronised yet")
		case !p.Serving:
			return errors.New("not served until its publication is complete")
		case age > limit && p.Error != "":
			return fmt.Errorf("last synchronised %s ago: %s", Age(age), p.Error)
		case age > limit:
			return fmt.Errorf("last synchronised %s ago", Age(age))
		case p.Stale:
			return fmt.Errorf("upstream itself is %s old", Age(now().Sub(p.ContentTime)))
		}
		return nil
	}
}

// Age words a duration for people, so roughly that it seldom changes.
func Age(d time.Duration) string {
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
