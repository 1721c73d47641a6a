package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"micromirror/packages/health/age"
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
		passed := now().Sub(p.LastUpdate)
		switch {
		case p.LastUpdate.IsZero() && p.Error != "":
			return fmt.Errorf("never synchronised: %s", p.Error)
		case p.LastUpdate.IsZero() && p.Status == "syncing":
			return Fact("first synchronisation is running")
		case p.LastUpdate.IsZero():
			return errors.New("not synchronised yet")
		case !p.Serving:
			return errors.New("not served until its publication is complete")
		case passed > limit && p.Error != "":
			return fmt.Errorf("last synchronised %s ago: %s", age.Text(passed), p.Error)
		case passed > limit:
			return fmt.Errorf("last synchronised %s ago", age.Text(passed))
		case p.Stale:
			return fmt.Errorf("upstream itself is %s old", age.Text(now().Sub(p.ContentTime)))
		}
		return nil
	}
}
