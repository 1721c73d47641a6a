// Package health tells whether the node does its job.
//
// A Set runs named checks, each with a time limit, side by side; a check whose
// dependencies did not pass is skipped, so that one fault is reported once and
// not as ten. What a check says becomes a Report, which is published as
// /run/health.json and read by the update gate, the console and /healthz.
//
// A gate check that fails makes the node unhealthy, which in the end reboots it.
// Therefore a gate check must look at something that a reboot or the other slot
// can cure. Checks of the world outside (link, gateway, time servers) are
// external: they count only if they held before the update that is on trial,
// because a host who pulls the cable must not roll back a release. An incurable
// check fails for everybody to see, but no reboot would help, so the node is
// not unhealthy for it: a disk that wears out, a watchdog that is not armed.
// What is neither can only warn.
//
// Checks lists what a node looks at, in one call.
//
// Failure: a check that hangs fails at its limit; one that panics fails.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Status is the outcome of a check.
type Status string

// The outcomes, as they appear in the report.
const (
	OK   Status = "ok"
	Warn Status = "warn" // to be looked at; does not make the node unhealthy
	Fail Status = "fail"
	Skip Status = "skip" // a dependency did not pass
)

// Check is one thing to look at.
type Check struct {
	Name  string
	Needs []string // checks that must not fail for this one to make sense
	// Gate makes a failure count, because a reboot or the other slot can cure it.
	Gate bool
	// Incurable makes a failure a Fail that does not count. A check that is
	// neither can only warn.
	Incurable bool
	// External says that the cause may be outside the node.
	External bool
	Limit    time.Duration // 10 s if zero
	// Run returns nil, an error, or one made with Warning or Fact.
	Run func(ctx context.Context) error
}

const defaultLimit = 10 * time.Second

// warning marks an error that is not a failure.
type warning struct{ error }

func (w warning) Unwrap() error { return w.error }

// Warning makes an error count as Warn.
func Warning(err error) error {
	if err == nil {
		return nil
	}
	return warning{err}
}

// IsWarning reports whether an error counts as Warn only.
func IsWarning(err error) bool {
	var w warning
	return errors.As(err, &w)
}

// fact is what a check that passed has found.
type fact string

func (f fact) Error() string { return string(f) }

// Fact makes a check pass with something to say to people.
func Fact(text string) error { return fact(text) }

// Report is /run/health.json.
type Report struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
	Slot    string    `json:"slot"`
	Healthy bool      `json:"healthy"`
	// HealthySeconds is for how long it has been so without a break, since the
	// start at most, by a clock that nobody sets.
	HealthySeconds int64     `json:"healthy_seconds"`
	Checks         []Outcome `json:"checks"`
}

// Outcome is one check's part of the report.
type Outcome struct {
	Name     string    `json:"name"`
	Status   Status    `json:"status"`
	Reason   string    `json:"reason,omitempty"` // why; for OK a fact, if there is one
	Since    time.Time `json:"since"`            // of this status
	External bool      `json:"external,omitempty"`
	// Incurable says that no reboot cures this, so that it does not make the
	// node unhealthy.
	Incurable bool `json:"incurable,omitempty"`
}

// unhealthy reports whether this outcome makes the node unhealthy.
func (o Outcome) unhealthy() bool { return o.Status == Fail && !o.Incurable }

// Why names what makes the node unhealthy, for people.
func (r Report) Why() string {
	var out string
	for _, c := range r.Checks {
		if !c.unhealthy() {
			continue
		}
		if out != "" {
			out += "; "
		}
		out += c.Name + ": " + c.Reason
	}
	return out
}

// Passed names the checks that are OK.
func (r Report) Passed() []string {
	var out []string
	for _, c := range r.Checks {
		if c.Status == OK {
			out = append(out, c.Name)
		}
	}
	return out
}

// Set is a fixed set of checks.
type Set struct {
	checks        []Check
	version, slot string
	now           func() time.Time
	// counts reports whether a failure of an external gate check counts.
	counts func(name string) bool
	last   map[string]Outcome
	well   time.Time // since when the node is healthy; zero while it is not
}

// New returns a set. Each check must come after those that it needs.
func New(checks []Check, version, slot string, now func() time.Time, counts func(name string) bool) (*Set, error) {
	var names []string
	for _, c := range checks {
		if slices.Contains(names, c.Name) {
			return nil, fmt.Errorf("health: check %s is there twice", c.Name)
		}
		for _, n := range c.Needs {
			if !slices.Contains(names, n) {
				return nil, fmt.Errorf("health: check %s needs %s, which is not before it", c.Name, n)
			}
		}
		names = append(names, c.Name)
	}
	return &Set{checks: checks, version: version, slot: slot, now: now, counts: counts, last: map[string]Outcome{}}, nil
}

// Run runs all checks once. It must not be called twice at a time.
func (s *Set) Run(ctx context.Context) Report {
	r := Report{Version: s.version, Slot: s.slot, Healthy: true, Checks: make([]Outcome, len(s.checks))}
	passed := map[string]chan bool{}
	for _, c := range s.checks {
		passed[c.Name] = make(chan bool, len(s.checks))
	}
	finished := make(chan int)
	for i, c := range s.checks {
		go func() {
			var ok bool
			r.Checks[i], ok = s.one(ctx, c, passed)
			for range len(s.checks) { // for each check that may need it
				passed[c.Name] <- ok
			}
			finished <- i
		}()
	}
	for range s.checks {
		<-finished
	}
	r.Time = s.now()
	for i := range r.Checks {
		o := &r.Checks[i]
		o.Since = r.Time
		if old, ok := s.last[o.Name]; ok && old.Status == o.Status {
			o.Since = old.Since
		}
		s.last[o.Name] = *o
		r.Healthy = r.Healthy && !o.unhealthy()
	}
	switch {
	case !r.Healthy:
		s.well = time.Time{}
	case s.well.IsZero():
		s.well = r.Time
	default:
		r.HealthySeconds = int64(r.Time.Sub(s.well).Seconds())
	}
	return r
}

// one waits for what a check needs, runs it and judges it. A check that failed
// has not passed, however mildly that is judged: what needs it would only repeat
// the same fault.
func (s *Set) one(ctx context.Context, c Check, done map[string]chan bool) (o Outcome, passed bool) {
	o = Outcome{Name: c.Name, Status: OK, External: c.External}
	for _, n := range c.Needs {
		if !<-done[n] {
			o.Status, o.Reason = Skip, "needs "+n
		}
	}
	if o.Status == Skip {
		return o, false
	}
	err := limited(ctx, c)
	if err == nil {
		return o, true
	}
	o.Status, o.Reason = Fail, err.Error()
	switch mild, found := (warning{}), fact(""); {
	case errors.As(err, &found):
		o.Status = OK
		return o, true
	case errors.As(err, &mild):
		o.Status = Warn
		return o, true
	case c.Incurable:
		o.Incurable = true
	case !c.Gate || c.External && !s.counts(c.Name):
		o.Status = Warn
	}
	return o, false
}

// limited runs a check within its limit, even if it ignores its context.
func limited(ctx context.Context, c Check) error {
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				result <- fmt.Errorf("check panicked: %v", p)
			}
		}()
		result <- c.Run(ctx)
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no result within %v", limit)
	}
}

// Write replaces the report in a file that is in memory.
func (r Report) Write(path string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("health report: %w", err)
	}
	if err := os.WriteFile(path+".tmp", append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("health report: %w", err)
	}
	return os.Rename(path+".tmp", path)
}
