package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/rollout"
	"micromirror/packages/slot"
)

// pass does one round: ask, and do what the answer asks for.
func (u *Updater) pass(ctx context.Context) error {
	cat, decision, err := u.check(ctx)
	if err == nil {
		err = u.obey(ctx, cat, decision)
	}
	// What is installed was signed and complete: it does not need the servers.
	if s := u.now().State; (s == Waiting || s == Rebooting) && ctx.Err() == nil {
		err = errors.Join(err, u.restart(ctx))
	}
	return err
}

// reference is the time at which expiry is judged.
func (u *Updater) reference() time.Time {
	now, trusted := u.Clock()
	return Reference(now, trusted, u.Self.Built, u.now().Seen)
}

// check asks the servers. No decision is no error: the fleet may only carry
// configuration.
func (u *Updater) check(ctx context.Context) (cat *Catalogue, r *rollout.Rollout, err error) {
	if u.passes == 2 {
		daemon.Notice(u.Log, "update: checking")
	}
	u.enter(Checking, "")
	at := u.reference()
	err = u.within(ctx, "checking", u.Timing.Step, func(ctx context.Context) error {
		if err := u.fault(ctx, "checking"); err != nil {
			return err
		}
		newest, err := u.Channel.Refresh(ctx, at)
		if err != nil {
			return err
		}
		cat = newest
		if !has(newest, rollout.Target) {
			return nil
		}
		b, err := newest.Read(ctx, rollout.Target, rollout.MaxSize)
		if err == nil {
			r, err = rollout.Parse(b)
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("check: %w", err)
	}
	u.mu.Lock()
	u.lastCheck, _ = u.Clock()
	u.mu.Unlock()
	return cat, r, u.seen(at)
}

// seenEvery is how far the clock goes on before it is written down again.
const seenEvery = 6 * time.Hour

// seen remembers the time, when it is worth a write.
func (u *Updater) seen(at time.Time) error {
	if d := at.Sub(u.now().Seen); d > -maxBack && d < seenEvery {
		return nil
	}
	return u.change(func(s *Saved) { s.Seen = at.UTC() })
}

// obey does what the servers ask for: configuration first, then the release.
func (u *Updater) obey(ctx context.Context, cat *Catalogue, r *rollout.Rollout) error {
	var configErr error
	if s := u.now().State; u.Config != nil && s != Waiting && s != Rebooting {
		if configErr = u.configure(ctx, cat); errors.Is(configErr, ErrRestart) {
			return configErr
		}
	}
	if r == nil {
		return configErr
	}
	return errors.Join(configErr, u.follow(ctx, cat, r))
}

// follow obeys a decision.
func (u *Updater) follow(ctx context.Context, cat *Catalogue, r *rollout.Rollout) error {
	s := u.now()
	install, reason, err := Decide(r, u.Self, s, u.reference())
	if err != nil {
		return err
	}
	if r.Sequence > s.Sequence {
		if err := u.change(func(s *Saved) { s.Sequence = r.Sequence }); err != nil {
			return err
		}
	}
	switch wanted := install && r.Version == s.Version; {
	case wanted && (s.State == Waiting || s.State == Rebooting):
		if r.Emergency == s.Emergency {
			return nil
		}
		return u.change(func(s *Saved) { s.Emergency = r.Emergency })
	case !wanted && (s.State == Waiting || s.State == Rebooting || s.State == Installing):
		if err := u.withdraw(ctx, s); err != nil {
			return err
		}
	}
	if !install {
		u.Log.Info("update: " + reason)
		return nil
	}
	rel, err := u.download(ctx, cat, r)
	if err != nil {
		return fmt.Errorf("download %s: %w", r.Version, err)
	}
	return u.install(ctx, rel, r)
}

// withdraw takes back a release that is installed and no longer wanted.
func (u *Updater) withdraw(ctx context.Context, s Saved) error {
	err := u.within(ctx, "withdrawing", u.Timing.Step, func(context.Context) error {
		return u.ESP.Change(func(dir string) error {
			entries, _ := slot.List(dir) // what is damaged does not boot
			// An installation that came to nothing has left the fallback as it was.
			if _, installed := s.entry(entries); installed {
				if err := slot.Drop(dir, u.Self.Slot.Other()); err != nil {
					return err
				}
			}
			_, err := slot.Rearm(dir, u.Self.Slot)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("withdraw release %s: %w", s.Version, err)
	}
	daemon.Notice(u.Log, fmt.Sprintf("release %s is withdrawn, staying on %s", s.Version, u.Self.Version))
	return u.change(func(s *Saved) { s.State = Idle })
}

// restart reboots into what is installed once it is time for that.
func (u *Updater) restart(ctx context.Context) error {
	s := u.now()
	if err := u.within(ctx, "waiting", u.Timing.Step, func(ctx context.Context) error { return u.fault(ctx, "waiting") }); err != nil {
		return err
	}
	if !u.time(s.Emergency) {
		return nil
	}
	if u.mu.Lock(); !u.report.Healthy {
		u.mu.Unlock()
		return fmt.Errorf("reboot into %s: waiting for the node to be healthy", s.Version)
	}
	u.mu.Unlock()
	err := u.within(ctx, "rebooting", u.Timing.Step, func(ctx context.Context) error {
		if err := u.change(func(s *Saved) { s.State = Rebooting }); err != nil {
			return err
		}
		if err := u.fault(ctx, "rebooting"); err != nil {
			return err
		}
		daemon.Notice(u.Log, "rebooting into "+s.Version)
		draining, cancel := context.WithTimeout(ctx, u.Timing.Drain)
		defer cancel()
		if err := u.Drain(draining); err != nil {
			u.Log.Warn("drain", "err", err)
		}
		return u.Reboot(ctx)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("reboot into %s: %w", s.Version, err)
	}
	return err
}

// time says whether the reboot is due.
func (u *Updater) time(emergency bool) bool {
	now, _ := u.Clock()
	closed := u.Window.Until(now)
	if u.due.IsZero() { // installed now, or in an earlier life of this program
		u.due = time.Now().Add(closed + u.random(u.Timing.Spread))
		u.giveUp = time.Now().Add(maxWait)
	}
	if emergency || !time.Now().Before(u.giveUp) {
		return true
	}
	if closed > 0 {
		u.due = maxTime(u.due, time.Now().Add(closed))
		return false
	}
	return !time.Now().Before(u.due)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
