// Package rollout is the signed decision which release the nodes shall run and
// which of them already: rollout.json of the update repository.
//
// A release first goes to the canaries that the decision names; then, by further
// decisions, to 10, 50 and 100 percent of the nodes. Which nodes come early
// depends on the seed only, so a wave holds the ones before it, and another
// release begins with other nodes. Nothing here advances by itself or with time:
// who never sees a new decision stays with the old one.
//
// Promise: what Parse returns is valid; unknown keys are ignored, because a newer
// desk may have written them. Every error names the field, its value and what
// would be right. The package reads and writes no files.
package rollout

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Target is the path of the decision in the update repository.
const Target = "rollout.json"

// MaxSize bounds the encoded decision.
const MaxSize = 256 << 10

// Rollout is one decision.
type Rollout struct {
	// Sequence grows with each decision; a node refuses one below the highest it
	// has seen.
	Sequence uint64 `json:"sequence"`
	// Version is the release to run.
	Version string `json:"version"`
	// Minimum is the oldest release that can be updated directly to Version;
	// empty means any.
	Minimum string `json:"minimum,omitempty"`
	// Emergency lets Version be older than what a node runs, and does not wait
	// for its maintenance window. Who is included is decided as always.
	Emergency bool `json:"emergency,omitempty"`
	// Canaries are the nodes that take the release at 0 percent.
	Canaries []string `json:"canaries,omitempty"`
	// Percent is the wave that is open: one of Waves.
	Percent int `json:"percent"`
	// Seed orders the nodes; it is new for each release.
	Seed string `json:"seed"`
	// Soak is how long the canaries must have been healthy before the next wave,
	// for example "24h". The desk obeys it; for a node it is information.
	Soak string `json:"soak,omitempty"`
	// Issued is when the decision was made.
	Issued time.Time `json:"issued"`
	// Hardware are the models that the release runs on; none means any.
	Hardware []string `json:"hardware,omitempty"`
}

// Waves returns the percentages of a roll-out, in order.
func Waves() []int { return []int{0, 10, 50, 100} }

// Parse reads the content of rollout.json.
func Parse(b []byte) (*Rollout, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("parse rollout: %d bytes are more than %d", len(b), MaxSize)
	}
	var r Rollout
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("parse rollout: %w", err)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("parse rollout: %w", err)
	}
	return &r, nil
}

// Marshal checks the decision and returns the content of rollout.json.
func (r *Rollout) Marshal() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("rollout: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("rollout: %w", err)
	}
	return append(b, '\n'), nil
}

// Includes reports whether the node shall run the release now.
func (r *Rollout) Includes(node string) bool {
	return slices.Contains(r.Canaries, node) || Place(r.Seed, node) < r.Percent
}

// Place is where a seed puts a node: 0 to 99, the same on every computer.
func Place(seed, node string) int {
	sum := sha256.Sum256([]byte(seed + "\x00" + node))
	return int(binary.BigEndian.Uint64(sum[:8]) % 100)
}

// Next returns the wave after the open one; false after the last.
func (r *Rollout) Next() (percent int, ok bool) {
	i := slices.Index(Waves(), r.Percent)
	if i < 0 || i+1 >= len(Waves()) {
		return 0, false
	}
	return Waves()[i+1], true
}

// SoakTime is Soak as a duration; zero when there is none.
func (r *Rollout) SoakTime() (time.Duration, error) {
	if r.Soak == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(r.Soak)
	if err != nil || d < 0 || d > maxSoak {
		return 0, fmt.Errorf(`soak: %q is no duration up to %v; write it like "24h" or "90m"`, r.Soak, maxSoak)
	}
	return d, nil
}

const (
	maxSoak     = 30 * 24 * time.Hour
	maxCanaries = 1000
	maxModels   = 100
)

var (
	versionForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}$`) // as in package release
	labelForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	seedForm    = regexp.MustCompile(`^[!-~]{1,64}$`)
)

// Validate reports everything that is wrong with the decision.
func (r *Rollout) Validate() error {
	var problems []error
	check := func(ok bool, field string, value any, want string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s: %q is not %s", field, fmt.Sprint(value), want))
		}
	}
	check(r.Sequence > 0, "sequence", r.Sequence, "a number from 1")
	check(versionForm.MatchString(r.Version), "version", r.Version, "a release: up to 64 letters, digits and .+~-")
	check(r.Minimum == "" || versionForm.MatchString(r.Minimum), "minimum", r.Minimum, "a release, or left out")
	check(slices.Contains(Waves(), r.Percent), "percent", r.Percent, fmt.Sprintf("one of %v", Waves()))
	check(seedForm.MatchString(r.Seed), "seed", r.Seed, "1 to 64 printable characters without space")
	check(!r.Issued.IsZero(), "issued", r.Issued, "a time")
	_, soak := r.SoakTime()
	return errors.Join(append(problems, soak,
		checkNames("canaries", r.Canaries, maxCanaries, "the name of a node"),
		checkNames("hardware", r.Hardware, maxModels, "the name of a model"))...)
}

func checkNames(field string, names []string, most int, want string) error {
	if len(names) > most {
		return fmt.Errorf("%s: %d names are more than %d", field, len(names), most)
	}
	for i, n := range names {
		if !labelForm.MatchString(n) {
			return fmt.Errorf("%s[%d]: %q is not %s", field, i, n, want)
		}
		if slices.Contains(names[:i], n) {
			return fmt.Errorf("%s[%d]: %q is there twice; remove one", field, i, n)
		}
	}
	return nil
}
