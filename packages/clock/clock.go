// Package clock keeps the system's time right.
//
// It asks all configured servers, believes what a majority of them agrees on
// (one server alone is believed), steps the clock when it is far off, otherwise
// lets the kernel slew it and correct its frequency, and tells the battery
// clock. Time never runs before the floor: the build time of the image, and the
// last time seen before the power went, which is what a box with an empty
// battery has until a server answers. The floor's second part gives way when
// several servers insist: a time seen wrongly must not stay for ever.
//
// Failure: without servers the clock runs on as it is and the daemon keeps
// asking; nothing else waits for it. What a server says is refused outside the
// floor and the horizon.
//
// Files: <state>/last.json (the last time seen and the clock's frequency),
// <run>/clock.json (a Report). Ports: none; NTP by a client port.
package clock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"time"

	"micromirror/packages/daemon"
)

// System is the machine's clock.
type System interface {
	Now() time.Time
	// Step sets the clock.
	Step(to time.Time) error
	// Slew lets the clock drift by the offset and learn its frequency from it;
	// the next offset will come after about the interval.
	Slew(offset, interval time.Duration) error
	// Frequency is the learnt correction in parts per million.
	Frequency() (float64, error)
	SetFrequency(ppm float64) error
	// SetHardware sets the battery clock.
	SetHardware(t time.Time) error
}

// Config says what to ask and where to keep what.
type Config struct {
	Servers []string // host or host:port
	Built   time.Time
	State   string // directory of last.json
	Run     string // directory of clock.json
	System  System
	Source  Source
	Log     *slog.Logger
}

// Policy.
const (
	stepAbove   = 128 * time.Millisecond // ntpd's classic threshold
	horizon     = 30 * 365 * 24 * time.Hour
	firstWait   = 2 * time.Second
	longestWait = 64 * time.Second // without an answer
	shortPoll   = 64 * time.Second
	longPoll    = 17 * time.Minute
	saveEvery   = time.Hour
	insist      = 3 // rounds of several servers that overrule the time last seen
)

// Report is what the clock daemon tells the others.
type Report struct {
	Synced bool          `json:"synced"` // a server was heard within the last day
	Offset time.Duration `json:"offset_ns"`
	Source string        `json:"source,omitempty"`
	Last   time.Time     `json:"last,omitzero"` // when it was heard
	Error  string        `json:"error,omitempty"`
}

// keeper is the state of Run.
type keeper struct {
	Config
	floor    time.Time
	report   Report
	poll     time.Duration
	failures int
	insisted int
	saved    time.Time
}

// Run keeps the clock until ctx ends.
func Run(ctx context.Context, c Config) error {
	k := &keeper{Config: c, poll: shortPoll}
	if err := k.restore(); errors.Is(err, fs.ErrNotExist) {
		c.Log.Info("first start, no time was seen before")
	} else if err != nil {
		c.Log.Warn("time last seen is unknown", "err", err)
	}
	k.raise()
	k.publish()
	for {
		k.round(ctx)
		if ctx.Err() != nil {
			k.save()
			return ctx.Err()
		}
		k.publish()
		select {
		case <-ctx.Done():
		case <-time.After(k.wait()):
		}
	}
}

// raise sets a clock that is before the floor to the floor.
func (k *keeper) raise() {
	if now := k.System.Now(); now.Before(k.floor) {
		err := k.System.Step(k.floor)
		daemon.Notice(k.Log, "clock was before the time last seen", "was", now.UTC().Format(time.RFC3339),
			"now", k.floor.UTC().Format(time.RFC3339), "err", err)
	}
}

// wait is the time until the next round: soon while nobody has answered,
// seldom once all is well.
func (k *keeper) wait() time.Duration {
	if k.failures > 0 {
		return jitter(min(firstWait<<min(k.failures-1, 10), longestWait))
	}
	return jitter(k.poll)
}

func jitter(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5) }

// round asks the servers once and acts on what they say.
func (k *keeper) round(ctx context.Context) {
	samples, err := k.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	var s Sample
	if err == nil {
		s, err = Agree(samples)
	}
	if err == nil {
		err = k.accept(s)
	}
	if err == nil {
		err = k.adjust(s)
	}
	k.report.Error = ""
	if err != nil {
		k.failures++
		k.report.Error = err.Error()
		if k.failures == 1 || k.failures%60 == 0 {
			k.Log.Warn("no network time", "attempts", k.failures, "err", err)
		}
	}
	k.report.Synced = !k.report.Last.IsZero() && k.System.Now().Sub(k.report.Last) < 24*time.Hour
}

// accept refuses times that cannot be.
func (k *keeper) accept(s Sample) error {
	t := k.System.Now().Add(s.Offset)
	switch {
	case t.Before(k.Built):
		return fmt.Errorf("%s says %s, before this image was built", s.Server, t.UTC().Format(time.RFC3339))
	case t.After(k.Built.Add(horizon)):
		return fmt.Errorf("%s says %s, too far ahead", s.Server, t.UTC().Format(time.RFC3339))
	case t.Before(k.floor.Add(-stepAbove)) && k.report.Last.IsZero():
		k.insisted++
		if s.Agreeing < 2 || k.insisted < insist {
			return fmt.Errorf("%s says %s, before the time last seen, %s", s.Server, t.UTC().Format(time.RFC3339), k.floor.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// adjust sets the clock by what the servers agree on.
func (k *keeper) adjust(s Sample) error {
	first := k.report.Last.IsZero()
	stepped := s.Offset.Abs() > stepAbove
	if stepped {
		if err := k.System.Step(k.System.Now().Add(s.Offset)); err != nil {
			return fmt.Errorf("step clock by %v: %w", s.Offset, err)
		}
		k.poll = shortPoll
	} else {
		if err := k.System.Slew(s.Offset, k.poll); err != nil {
			return fmt.Errorf("slew clock by %v: %w", s.Offset, err)
		}
		k.poll = min(k.poll*5/4, longPoll)
	}
	k.failures = 0
	now := k.System.Now()
	k.report.Last, k.report.Offset, k.report.Source = now, s.Offset, s.Server
	if first || stepped {
		daemon.Notice(k.Log, "clock synchronized", "server", s.Server, "offset", s.Offset.Round(time.Microsecond), "stepped", stepped)
	}
	if first || stepped || now.Sub(k.saved).Abs() >= saveEvery {
		k.save()
	}
	return nil
}
