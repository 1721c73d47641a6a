// Package supervise decides whether the running slot is good, and what to do
// when it is not.
//
// A boot in the preferred slot is a trial: the loader has taken one of its
// tries. Once the node has been healthy for a while without a break, the tries
// are made full again; a node that does not get there in time says why and
// reboots, and so does one that runs a new release under which they cannot be made
// full. When the tries are used up the loader takes the other slot. A node that
// was healthy and then stays unhealthy reboots too, since a hung daemon may be
// cured by that, but each time in a row it waits twice as long, up to a day: a
// fault that no reboot cures must not keep a node from serving what it can. The
// same holds for the fallback slot, behind which there is nothing.
//
// Promise: tries are never made full in an unhealthy moment; nothing outside
// this node (see package health) causes a reboot unless it held before the
// release that is on trial; a reboot is ordered at most once a process.
//
// Files: /run/health.json, <state>/supervise.json (Memory), Gate.Mark. Time is counted by
// the monotonic clock, because the other one is set while this runs.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/health"
)

// Boot is what is known about the running slot.
type Boot struct {
	Slot       string
	Generation uint64
	Trial      bool // the loader counted this boot
	TriesLeft  int
	Alone      bool // the other slot has no entry
	Last       bool // its tries are used up, and there is no slot to fall back to
	Unread     bool // the boot entries could not be read: the rest is not known
}

// Timing are the delays of the gate.
type Timing struct {
	Interval time.Duration // between two looks; six times that once all is well
	Stable   time.Duration // healthy without a break until the tries are made full
	Prove    time.Duration // the same for a release that is new to the node
	Window   time.Duration // in which that must happen on trial
	Cure     time.Duration // unhealthy without a break until a reboot, the first time
}

// Defaults are the timing of a node. On trial ten minutes are enough for the
// slowest box to start everything, and an outage of minutes changes nothing.
func Defaults() Timing {
	return Timing{Interval: 5 * time.Second, Stable: 30 * time.Second, Prove: 3 * time.Minute, Window: 10 * time.Minute, Cure: 10 * time.Minute}
}

// Gate watches the node's health.
type Gate struct {
	Boot   Boot
	Timing Timing
	Look   func(ctx context.Context) health.Report
	Report string        // file for the report; empty for none
	Up     time.Duration // since the first supervisor of this boot started, when Run is called: see Started
	// Mark is a volatile file that says that the tries were made full in this
	// boot already, for a supervisor that had to start again; empty for none.
	Mark string
	// Rearm makes the tries full and returns what the boot entries then say; it
	// reports whether the running slot is the preferred one.
	Rearm  func() (b Boot, armed bool, err error)
	Reboot func(ctx context.Context) error
	Memory *Memory
	Log    *slog.Logger
	// Told, if set, hears of each look. Blessed hears once that the slot was found
	// good and its tries are full: only then may the other slot be given up. GiveUp hears why the gate reboots, before it does, and must not take long.
	Told    func(health.Report)
	Blessed func()
	GiveUp  func(why string)
}

// longest is the longest wait before another reboot in a row.
const longest = 24 * time.Hour

// suspicious is how many reboots in a row say that the slot does not stay well.
const suspicious = 3

// maxRearmWait is the longest wait between two attempts to make the tries full.
const maxRearmWait = time.Hour

// calm is how long a node must be healthy for its reboots to be forgotten.
const calm = time.Hour

// watch is the state of one run.
type watch struct {
	started time.Time
	since   time.Time // of the present health
	healthy bool
	good    bool // the trial is over
	armed   bool // the tries are full
	calm    bool
	counted bool          // the reboot that is due was counted
	wait    time.Duration // after an attempt to make the tries full that failed
	next    time.Time     // of such attempts
	refused time.Time     // when the first of them failed; zero once one has not
	refusal error         // of the last
}

// Run looks at the node until ctx ends or a reboot was ordered, in which case
// it waits for the end of ctx.
func (g *Gate) Run(ctx context.Context) error {
	g.greet()
	w := &watch{started: time.Now().Add(-g.Up), since: time.Now()}
	if _, err := os.Stat(g.Mark); err == nil {
		w.good, w.armed = true, true
		g.blessed()
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		r := g.Look(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if g.Report != "" {
			if err := r.Write(g.Report); err != nil {
				g.Log.Error("health report", "err", err)
			}
		}
		g.note(w, r)
		if g.Told != nil {
			g.Told(r)
		}
		if r.Healthy {
			g.bless(w, r)
		}
		if why, due := g.why(w, r); due && g.count(w) {
			return g.restart(ctx, w, why)
		}
		next.Reset(g.pause(w))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next.C:
		}
	}
}

func (g *Gate) pause(w *watch) time.Duration {
	if w.armed && w.healthy {
		return 6 * g.Timing.Interval
	}
	return g.Timing.Interval
}

// greet is the milestone of the start.
func (g *Gate) greet() {
	line := fmt.Sprintf("slot %s is the fallback", g.Boot.Slot)
	switch {
	case g.Boot.Unread:
		line = fmt.Sprintf("slot %s, boot entries unreadable", g.Boot.Slot)
	case g.Boot.Last:
		line = fmt.Sprintf("slot %s has used up its tries, and there is no other to fall back to: trying on", g.Boot.Slot)
	case g.Boot.Alone:
		line = fmt.Sprintf("slot %s is the only one", g.Boot.Slot)
	case g.Boot.Trial:
		line = fmt.Sprintf("slot %s on trial, %d tries left", g.Boot.Slot, g.Boot.TriesLeft)
	}
	daemon.Notice(g.Log, line)
}

// note keeps since when the node is as it is, and logs changes.
func (g *Gate) note(w *watch, r health.Report) {
	if r.Healthy == w.healthy {
		return
	}
	w.healthy, w.since, w.counted = r.Healthy, time.Now(), false
	if r.Healthy {
		g.Log.Info("healthy")
	} else if w.good {
		g.Log.Warn("unhealthy", "why", r.Why())
	}
}

// bless makes the tries full once the node has been healthy long enough, and
// forgets its reboots once it has been for very long.
func (g *Gate) bless(w *watch, r health.Report) {
	age := time.Since(w.since)
	w.good = w.good || age >= g.proof()
	if w.good && !w.armed && age >= g.doubt() && !time.Now().Before(w.next) {
		if err := g.arm(r); err != nil {
			// Each attempt makes the ESP writable, where a power cut can hurt.
			w.wait = min(max(2*w.wait, g.Timing.Interval), maxRearmWait)
			w.next = time.Now().Add(w.wait)
			if w.refusal = err; w.refused.IsZero() {
				w.refused = time.Now()
			}
			g.Log.Error("slot is healthy, but its tries could not be made full", "err", err)
			return
		}
		w.armed, w.refused = true, time.Time{}
		g.blessed()
	}
	if w.armed && !w.calm && age >= calm {
		w.calm = true
		if err := g.Memory.Forget(); err != nil {
			g.Log.Error("remember health", "err", err)
		}
	}
}

// proof is how long the node must have been healthy for its trial to be over.
// Some releases fail after a minute, so one that is new is watched longer.
func (g *Gate) proof() time.Duration {
	if g.Boot.Trial && g.Memory.New(g.Boot.Generation) {
		return g.Timing.Prove
	}
	return g.Timing.Stable
}

// doubt is how long the tries stay as they are after that: the tries of a slot
// that gets well after each of many reboots, and ill again, shall run out. What
// came before a release that is new is not its fault.
func (g *Gate) doubt() time.Duration {
	if g.Boot.Trial && !g.Memory.New(g.Boot.Generation) && g.Memory.Reboots() >= suspicious {
		return calm
	}
	return 0
}

func (g *Gate) arm(r health.Report) error {
	boot, armed, err := g.Rearm()
	if err != nil {
		return err
	}
	if g.Boot.Unread {
		g.Boot = boot // the entries are readable now
	}
	if g.Mark != "" {
		if err := os.WriteFile(g.Mark, nil, 0o644); err != nil {
			g.Log.Error("mark boot as good", "err", err)
		}
	}
	if g.Boot.Generation > 0 { // 0 would stand for none
		if err := g.Memory.Bless(g.Boot.Generation, r.Passed()); err != nil {
			g.Log.Error("remember health", "err", err)
		}
	}
	line := "slot " + g.Boot.Slot + " healthy"
	if armed {
		line += ", re-armed"
	}
	daemon.Notice(g.Log, line)
	return nil
}

func (g *Gate) blessed() {
	if g.Blessed != nil {
		g.Blessed()
	}
}

// onTrial reports whether a reboot takes the node nearer to the other slot.
func (g *Gate) onTrial(w *watch) bool { return g.Boot.Trial && !w.good }

// why says whether a reboot is due, and why. A new release under which the tries
// cannot be made full would take no update any more, so it must use them up; one that
// could do it before is not to blame.
func (g *Gate) why(w *watch, r health.Report) (why string, due bool) {
	switch {
	case !r.Healthy:
		return r.Why(), g.hopeless(w)
	case g.Boot.Trial && g.Memory.New(g.Boot.Generation) && !w.refused.IsZero() && time.Since(w.refused) >= g.patience():
		return fmt.Sprintf("tries cannot be made full: %v", w.refusal), true
	default:
		return "", false
	}
}

// hopeless reports whether waiting longer is of no use.
func (g *Gate) hopeless(w *watch) bool {
	if g.onTrial(w) {
		return time.Since(w.started) >= g.Timing.Window
	}
	return time.Since(w.since) >= g.patience()
}

// patience doubles with each reboot in a row. Where they cannot be counted, the
// next may be the hundredth.
func (g *Gate) patience() time.Duration {
	if g.Memory.Lost() {
		return longest
	}
	return min(g.Timing.Cure<<min(g.Memory.Reboots(), 16), longest)
}

// count remembers the reboot that is due, and reports whether it shall happen
// now. A disk that refuses the count will do so after the reboot, too, so that the
// node would reboot for ever; one that hangs may be cured.
func (g *Gate) count(w *watch) bool {
	if w.counted {
		return true
	}
	err := g.Memory.Count()
	if err != nil {
		g.Log.Error("remember reboot", "err", err)
	}
	w.counted = true
	return err == nil || errors.Is(err, ErrHung) || g.onTrial(w)
}

// restart says why and reboots.
func (g *Gate) restart(ctx context.Context, w *watch, why string) error {
	if g.GiveUp != nil {
		g.GiveUp(why)
	}
	g.Log.Error("unhealthy: " + why + ", rebooting")
	if err := g.Reboot(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
