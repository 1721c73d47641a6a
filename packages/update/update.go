// Package update is the node's side of updates over the air: releases into the
// slot that does not run, and the node's configuration.
//
// A pass asks the update repository (Channel), judges the signed decision of the
// maintainers (Decide), downloads, installs, waits for the maintenance window,
// lets the file server finish what it is sending, and reboots. In the next boot
// the gate of package supervise finds the release good, or the loader falls back
// and this package remembers the release as failed. Configuration is tried the
// same way, without a reboot (Configuration).
//
// Promises:
//   - Nothing is written to a slot that is not signed by the fleet's keys, newer
//     than all that was seen before, for this node's hardware, and complete.
//   - Nothing is written to a slot before the running one has been found healthy,
//     and the running one is never written to.
//   - A release that failed here is not tried again by itself. One whose boot entry
//     vanished did not fail: it is installed again, twice at most.
//   - What goes wrong costs a later pass, never the service: every step is
//     bounded, the gate reboots a node on which one does not end, and a reboot at
//     any point ends in a state from which the next pass goes on.
//   - Reports decide nothing: only signed metadata and this node's own health do.
//
// Files owned: <state>/update.json (Saved), <state>/tuf/ (trusted metadata),
// <state>/download/ (a release on its way), <state>/config.json (a configuration
// on trial), the status file, and of the node's directory what Configuration
// replaces. Ports: none.
package update

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/disk"
	"micromirror/packages/fetch"
	"micromirror/packages/health"
	"micromirror/packages/slot"
	"micromirror/packages/supervise"
)

// ESP is the EFI system partition.
type ESP interface {
	// Change makes it writable while f runs.
	Change(f func(dir string) error) error
	// Path is where it is mounted, for reading.
	Path() string
}

// Timing are the delays of an Updater.
type Timing struct {
	First  time.Duration // from the bless to the first pass
	Poll   time.Duration // between two passes
	Jitter time.Duration // added to either, at random
	Spread time.Duration // random delay of the reboot, so that a fleet does not go at once
	Retry  time.Duration // after a pass that failed; doubles up to Poll
	Step   time.Duration // the longest that a step may take
	Drain  time.Duration // the longest that the file server may take to end
	Grace  time.Duration // for a step to end once it was told to
}

// Defaults are the delays of a node.
func Defaults() Timing {
	return Timing{First: 3 * time.Minute, Poll: time.Hour, Jitter: 20 * time.Minute, Spread: 10 * time.Minute,
		Retry: 2 * time.Minute, Step: 6 * time.Hour, Drain: time.Minute, Grace: 10 * time.Second}
}

// maxWait is how long the window is waited for: the clock may be wrong.
const maxWait = 25 * time.Hour

// Updater keeps a node up to date. Its fields are set before Resume.
type Updater struct {
	Self    Self
	State   string // directory
	Status  string // file
	Off     string // why the node takes no updates; empty if it does
	Channel *Channel
	Fetch   func(ctx context.Context, j fetch.Job) (fetch.Stats, error)
	Clock   func() (now time.Time, trusted bool)
	Window  Window
	ESP     ESP
	Root    func(slot.Name) (device string, err error)
	Disk    disk.GUID
	Config  *Configuration // nil: the configuration stays as it is
	Drain   func(ctx context.Context) error
	Reboot  func(ctx context.Context) error
	// Changed, if set, hears of changes that need their second copy.
	Changed func()
	// Fault, if set, is asked at each of Points, and may fail, hang, or end the
	// process: tests only.
	Fault  func(ctx context.Context, point string) error
	Timing Timing
	Log    *slog.Logger

	wake   chan struct{} // something to do
	told   chan struct{} // there is a new health report
	hands  chan handed   // what is brought by hand
	saving sync.Mutex    // while writing, which may hang

	mu        sync.Mutex // for what follows; never held while waiting
	saved     Saved
	phase     State // volatile: Checking, Downloading; empty for none
	target    string
	problem   string
	lastCheck time.Time
	report    health.Report
	blessed   bool
	stuck     string

	// Of the goroutine that runs passes.
	failures int
	passes   int
	due      time.Time // of the reboot, by the monotonic clock
	giveUp   time.Time // of waiting for the window
}

// Points are the places where a fault can be ordered, one for each state.
func Points() []string {
	return []string{
		"checking", "downloading", "installing", "installed", "waiting", "rebooting", "trial", "good", "failed",
		"config-writing", "config-trial", "config-accepting", "config-returning",
	}
}

func (u *Updater) fault(ctx context.Context, point string) error {
	if u.Fault == nil {
		return nil
	}
	return u.Fault(ctx, point)
}

func (u *Updater) file() string { return filepath.Join(u.State, "update.json") }

// Blessed says that the running slot was found healthy in this boot: from now on
// updates may be installed.
func (u *Updater) Blessed() {
	u.mu.Lock()
	u.blessed = true
	u.mu.Unlock()
	poke(u.wake)
}

// Trying reports whether the release that runs is on trial.
func (u *Updater) Trying() bool { return u.now().State == Trial }

// Told hears each of the node's health reports.
func (u *Updater) Told(r health.Report) {
	u.mu.Lock()
	u.report = r
	u.mu.Unlock()
	poke(u.told)
}

// GiveUp hears why the node is about to reboot, so that the release that comes
// next can say why this one failed.
func (u *Updater) GiveUp(why string) {
	if s := u.now().State; s != Good && s != Trial {
		return
	}
	if err := u.change(func(s *Saved) { s.Reason = why }); err != nil {
		u.Log.Error("remember why the trial failed", "err", err)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// now returns the state.
func (u *Updater) now() Saved {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.saved
}

// change changes the state and writes it down, if the disk answers in time.
func (u *Updater) change(f func(*Saved)) error {
	u.mu.Lock()
	f(&u.saved)
	u.saved.Boot = u.Self.Boot
	u.mu.Unlock()
	err := supervise.Bounded(supervise.DiskLimit, func() error {
		u.saving.Lock()
		defer u.saving.Unlock()
		return u.now().store(u.file())
	})
	u.tell()
	if err == nil && u.Changed != nil {
		u.Changed()
	}
	return err
}

// within runs a step. One that does not end although it was told to makes the
// node unhealthy (Stuck) and holds back further ones.
func (u *Updater) within(ctx context.Context, name string, limit time.Duration, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s took longer than %v", name, limit))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(u.Timing.Grace)
	defer grace.Stop()
	select {
	case err := <-done:
		return errors.Join(context.Cause(ctx), err)
	case <-grace.C:
	}
	u.setStuck(name)
	go func() {
		<-done
		u.setStuck("")
	}()
	return fmt.Errorf("%s does not end", name)
}

func (u *Updater) setStuck(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stuck = name
}

// Stuck is a health check: a step that does not end is cured by a reboot.
func (u *Updater) Stuck(context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stuck != "" {
		return fmt.Errorf("updater: %s does not end", u.stuck)
	}
	return nil
}

// Run passes until ctx ends. Resume was called before.
func (u *Updater) Run(ctx context.Context) error {
	if u.Off != "" {
		daemon.Notice(u.Log, "update: off, "+u.Off)
	}
	for {
		wait, err := u.Step(ctx)
		if err != nil {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-u.wake:
			timer.Stop()
		case h := <-u.ready():
			timer.Stop()
			err := u.take(ctx, h.files)
			h.done <- err
			if errors.Is(err, ErrRestart) {
				return err
			}
		case <-timer.C:
		}
	}
}

// Step does what is due and returns how long to wait for the next one. The error
// ends the program: it is ErrRestart or the end of ctx.
func (u *Updater) Step(ctx context.Context) (time.Duration, error) {
	u.mu.Lock()
	blessed, stuck, healthy := u.blessed, u.stuck, u.report.Healthy
	u.mu.Unlock()
	switch {
	case !blessed:
		return day, nil
	case stuck != "" || !healthy:
		return u.Timing.Retry, nil
	}
	if err := u.good(ctx); err != nil {
		u.outcome(err)
		return u.pause(err), ctx.Err()
	}
	if u.Off != "" {
		return day, nil
	}
	if u.passes++; u.passes == 1 {
		return u.Timing.First + u.random(u.Timing.Jitter), nil
	}
	err := u.pass(ctx)
	if errors.Is(err, ErrRestart) || ctx.Err() != nil {
		return 0, err
	}
	u.outcome(err)
	return u.pause(err), nil
}

// outcome tells people, once, what went wrong.
func (u *Updater) outcome(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	u.mu.Lock()
	fresh := problem != "" && problem != u.problem
	u.problem, u.phase = problem, ""
	u.mu.Unlock()
	u.tell()
	switch {
	case fresh:
		u.Log.Warn("update: " + oneLine(problem))
	case err != nil:
		u.Log.Info("update: " + oneLine(problem))
	}
}

// pause is the time to the next pass.
func (u *Updater) pause(err error) time.Duration {
	wait := u.Timing.Poll
	if err != nil {
		wait = min(u.Timing.Retry<<min(u.failures, 16), u.Timing.Poll)
		u.failures++
	} else {
		u.failures = 0
	}
	wait += u.random(min(u.Timing.Jitter, wait))
	if u.now().State == Waiting {
		wait = min(wait, max(time.Until(u.due), time.Second))
	}
	return wait
}

func (u *Updater) random(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}
