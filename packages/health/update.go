package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"micromirror/packages/health/age"
)

// silence is how long the update channel may be without an answer: metadata is
// good for thirty days, so a week leaves three to mend it.
const silence = 7 * 24 * time.Hour

// Update returns a check that releases can be had: that the last look, which
// file tells of, worked. It can only warn: a node serves on without updates.
func Update(file string, now func() time.Time) func(context.Context) error {
	return func(context.Context) error {
		var u struct {
			State     string    `json:"state"`
			Version   string    `json:"version"`
			Target    string    `json:"target"`
			LastCheck time.Time `json:"last_check"`
			Error     string    `json:"error_msg"`
		}
		err := read(file, &u)
		switch passed := now().Sub(u.LastCheck); {
		case err != nil:
			return Warning(err)
		case u.Error != "":
			return Warning(errors.New(u.Error))
		case !u.LastCheck.IsZero() && passed > silence:
			return Warning(fmt.Errorf("last look for releases %s ago", age.Text(passed)))
		case u.State == "failed" && u.Target != "":
			return Warning(fmt.Errorf("release %s failed its trial here", u.Target))
		case u.Target != "" && u.Target != u.Version:
			return Fact(u.State + " " + u.Target)
		}
		return nil
	}
}
