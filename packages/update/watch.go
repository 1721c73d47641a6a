package update

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"micromirror/packages/health"
	"micromirror/packages/node"
)

// errUnwell is the verdict on a configuration.
var errUnwell = errors.New("the node did not get as well as it was")

// watch waits until the node has been as well as before for a while.
func (u *Updater) watch(ctx context.Context, before health.Report) error {
	if err := u.fault(ctx, "config-trial"); err != nil {
		return err
	}
	if err := pauseFor(ctx, u.Config.Settle); err != nil {
		return err
	}
	deadline := time.NewTimer(u.Config.Trial)
	defer deadline.Stop()
	var well time.Time
	why := errors.New("no health report")
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			return fmt.Errorf("%w: %w", errUnwell, why)
		case <-u.told:
		}
		u.mu.Lock()
		now := u.report
		u.mu.Unlock()
		if why = worse(before, now, u.Config.Watch); why != nil {
			well = time.Time{}
			continue
		}
		if well.IsZero() {
			well = time.Now()
		}
		if time.Since(well) >= u.Config.Stable {
			return nil
		}
		why = errors.New("was well too shortly")
	}
}

// reached asks the update servers through the network as the new configuration
// has made it. Without them, as with wrong name servers, the next mistake could
// not be mended.
func (u *Updater) reached(ctx context.Context, set map[string][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, u.Config.Trial)
	defer cancel()
	var c *node.Config
	err := u.overlaid(set, func(got *node.Config, _ []node.Problem) error { c = got; return nil })
	if err != nil {
		return err
	}
	probe := *u.Channel
	probe.Bases = c.Fleet.Update.URLs
	for {
		if _, err = probe.Refresh(ctx, u.reference()); err == nil {
			return nil
		}
		if pauseFor(ctx, u.Config.Trial/20) != nil {
			return fmt.Errorf("%w: no update server can be reached: %w", errUnwell, err)
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// worse says what a node has lost: its health, or a watched check that passed.
func worse(before, now health.Report, watch []string) error {
	if !now.Healthy {
		return fmt.Errorf("the node is unhealthy: %s", now.Why())
	}
	held := before.Passed()
	passes := now.Passed()
	for _, name := range watch {
		if !slices.Contains(held, name) || slices.Contains(passes, name) {
			continue
		}
		why := name + " is lost"
		for _, o := range now.Checks {
			if o.Name == name && o.Reason != "" {
				why += ": " + o.Reason
			}
		}
		return errors.New(why)
	}
	return nil
}
