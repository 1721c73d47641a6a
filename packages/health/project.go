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

// lasting is how many synchronisations in a row must fail before that counts,
// although the mirror is still fresh: an upstream that refuses once is asked again
// within seconds.
const lasting = 3

// Project returns a check that a project is served, that its last
// synchronisation is not older than limit, that what it brought is neither stale
// nor other than what upstream has, and that upstream has not begun to refuse.
// Its state is in file.
func Project(file string, limit time.Duration, now func() time.Time) func(context.Context) error {
	return func(context.Context) error {
		var p struct {
			Status       string    `json:"status"`
			LastUpdate   time.Time `json:"last_update"`
			ContentTime  time.Time `json:"content_time"`
			Stale        bool      `json:"stale"`
			Error        string    `json:"error_msg"`
			Failures     int       `json:"failures"`
			Serving      bool      `json:"serving"`
			OutOfService string    `json:"out_of_service"`
			CheckedFiles int       `json:"checked_files"`
			WrongFiles   int       `json:"wrong_files"`
			WrongFile    string    `json:"wrong_file"`
			BehindSince  time.Time `json:"behind_since"`
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
		case p.OutOfService != "":
			return fmt.Errorf("out of service: %s", p.OutOfService)
		case !p.Serving:
			return errors.New("not served until its publication is complete")
		case passed > limit && p.Error != "":
			return fmt.Errorf("last synchronised %s ago: %s", age.Text(passed), p.Error)
		case passed > limit:
			return fmt.Errorf("last synchronised %s ago", age.Text(passed))
		case p.WrongFiles > 0:
			return fmt.Errorf("%d of %d files compared differ from upstream, such as %q", p.WrongFiles, p.CheckedFiles, p.WrongFile)
		case p.Failures >= lasting && p.Error != "":
			return fmt.Errorf("%d synchronisations in a row have failed: %s", p.Failures, p.Error)
		case !p.BehindSince.IsZero() && now().Sub(p.BehindSince) > limit:
			return fmt.Errorf("behind upstream for %s", age.Text(now().Sub(p.BehindSince)))
		case p.Stale:
			return fmt.Errorf("upstream itself is %s old", age.Text(now().Sub(p.ContentTime)))
		}
		return nil
	}
}
