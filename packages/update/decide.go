package update

import (
	"fmt"
	"slices"
	"time"

	"micromirror/packages/release"
	"micromirror/packages/rollout"
	"micromirror/packages/slot"
)

// Self is the node and what it runs.
type Self struct {
	Name     string
	Hardware string
	Version  string
	Built    time.Time // of the image that runs
	Slot     slot.Name
	// Boot names this boot: nothing else has the same string.
	Boot string
}

// retry is how long a release that failed its trial is left alone, the first
// time; then twice as long, and after maxTrials it is not tried any more.
const (
	retry     = 24 * time.Hour
	maxTrials = 3
)

// Decide says whether the node shall install the release that a decision names.
// If not, the reason says why; the error is for a decision that is to be refused.
func Decide(r *rollout.Rollout, n Self, s Saved, now time.Time) (install bool, reason string, err error) {
	older := rollout.Compare(r.Version, n.Version) < 0
	switch {
	case r.Sequence < s.Sequence:
		return false, "", fmt.Errorf("decision %d is older than %d, which was seen before", r.Sequence, s.Sequence)
	case r.Version == n.Version:
		return false, "up to date", nil
	case !r.Includes(n.Name):
		return false, fmt.Sprintf("release %s is not open for this node yet", r.Version), nil
	case len(r.Hardware) > 0 && !slices.Contains(r.Hardware, n.Hardware):
		return false, "", fmt.Errorf("release %s is for other hardware than %q: %v", r.Version, n.Hardware, r.Hardware)
	case r.Minimum != "" && rollout.Compare(n.Version, r.Minimum) < 0:
		return false, "", fmt.Errorf("release %s needs at least %s to come from, this is %s", r.Version, r.Minimum, n.Version)
	case older && !r.Emergency:
		return false, "", fmt.Errorf("release %s is older than %s, and the decision is no emergency", r.Version, n.Version)
	}
	if reason := barred(r, s, now); reason != "" {
		return false, reason, nil
	}
	return true, "", nil
}

// barred says why a release that failed here is not tried again, if so. It takes
// a new decision and time to try it again, since neither cures a release. Whoever
// orders an emergency has looked into it.
func barred(r *rollout.Rollout, s Saved, now time.Time) string {
	f, ok := find(s.Bad, r.Version)
	if !ok {
		return ""
	}
	// A node without network time learns from the decision how late it is.
	wait := retry << max(0, min(f.Count-1, maxTrials))
	if f.Count < maxTrials && r.Sequence > f.Sequence && (r.Emergency || elapsed(f.Time, now, wait) || elapsed(f.Time, r.Issued, wait)) {
		return ""
	}
	return fmt.Sprintf("release %s failed here: %s", r.Version, f.Reason)
}

// elapsed says whether a wait since then is over. A time that lies ahead was
// wrong, and must not last for ever.
func elapsed(then, now time.Time, wait time.Duration) bool {
	return now.Sub(then) >= wait || then.Sub(now) > maxBack
}

// suits checks a release that was decided for against the node and the decision.
func suits(rel *release.Release, r *rollout.Rollout, n Self) error {
	switch {
	case rel.Version != r.Version:
		return fmt.Errorf("the description of release %s says that it is %s", r.Version, rel.Version)
	case !slices.Contains(rel.Hardware, n.Hardware):
		return fmt.Errorf("release %s is for other hardware than %q: %v", rel.Version, n.Hardware, rel.Hardware)
	case rel.Built.Before(n.Built) && !r.Emergency:
		return fmt.Errorf("release %s was built before the one that runs, and the decision is no emergency", rel.Version)
	}
	return nil
}
