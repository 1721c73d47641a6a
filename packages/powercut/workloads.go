package powercut

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/repository"
	"micromirror/packages/scenario"
	"micromirror/packages/vm"
)

// What a node says when it has re-armed the slot that it runs.
const (
	healthy  = `mm updated: slot [ab] healthy, re-armed`
	healthyB = `mm updated: slot b healthy, re-armed`
	grown    = `mm updated: /perm has grown to its partition`
)

func waitFor(lines ...string) func(context.Context, *vm.Machine) error {
	return func(ctx context.Context, m *vm.Machine) error {
		for _, line := range lines {
			if _, err := m.WaitConsole(ctx, line); err != nil {
				return err
			}
		}
		return nil
	}
}

// Workloads opens all workloads; dir keeps what they need beside their
// recordings. The function ends what they have running.
func Workloads(ctx context.Context, dir, machines string) (_ []Workload, end func() error, err error) {
	first, err := FirstBoot()
	if err != nil {
		return nil, nil, err
	}
	var channels []*channel
	end = func() (err error) {
		for _, c := range channels {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()
	for _, name := range []string{"update", "configuration"} {
		c, err := openChannel(ctx, filepath.Join(dir, "repository-of-"+name))
		if err != nil {
			return nil, end, err
		}
		channels = append(channels, c)
	}
	return []Workload{first, channels[0].update(machines), channels[1].configuration(machines)}, end, nil
}

// FirstBoot is a new node's first start on a disk larger than its image: the
// partition table is extended, /perm is checked and grows, the identity is copied
// to /perm, the slot's tries are counted down and made full again.
func FirstBoot() (Workload, error) {
	dir, err := scenario.Shipped.Dir()
	if err != nil {
		return Workload{}, err
	}
	return Workload{
		Name:     "first-boot",
		Releases: []string{dir},
		Machine:  vm.Config{Size: 6 << 30},
		Image: func(ctx context.Context, out string) error {
			return scenario.Image(ctx, out, scenario.ImageOptions{Kind: scenario.Shipped})
		},
		Drive:   waitFor(grown, healthy),
		Survive: waitFor(healthy),
	}, nil
}

// update is a release over the air: download, installation in slot b, the reboot
// into it, and its trial until it has the full number of tries.
func (c *channel) update(machines string) Workload {
	return Workload{
		Name:     "update",
		Releases: c.releases[:],
		Image: func(ctx context.Context, out string) error {
			if err := c.office.Offer(ctx, c.releases[1], false); err != nil {
				return err
			}
			return c.settled(ctx, out, machines)
		},
		Drive:   c.opened(waitFor(`mm updated: installed \S+ in slot b`, healthyB, `mm updated: release \S+ is good`)),
		Survive: c.opened(waitFor(healthy)),
		Finish:  runsB,
	}
}

// otherSponsor is what a change of configuration changes, and a page shows.
const otherSponsor = "Sponsored over the air"

// configuration is a changed node file over the air: written, obeyed, watched, and
// kept.
func (c *channel) configuration(machines string) Workload {
	return Workload{
		Name:     "configuration",
		Releases: c.releases[:1],
		Image: func(ctx context.Context, out string) error {
			if err := c.settled(ctx, out, machines); err != nil {
				return err
			}
			return c.reconfigure(ctx)
		},
		Drive:   c.opened(waitFor(`mm updated: configuration \S+ is good`)),
		Survive: c.opened(waitFor(healthy)),
		Finish:  showsSponsor,
	}
}

// reconfigure publishes the fleet's files as they are in the image, but for the
// sponsor.
func (c *channel) reconfigure(ctx context.Context) error {
	files := map[string][]byte{}
	for target, name := range map[string]string{repository.FleetTarget: "fleet.json", repository.NodeTarget("demo"): "nodes/demo.json"} {
		b, err := os.ReadFile(filepath.Join(c.office.Dir, name))
		if err != nil {
			return err
		}
		files[target] = bytes.Replace(b, []byte("This computer"), []byte(otherSponsor), 1)
	}
	_, err := c.office.Repository.SetConfig(ctx, files)
	return err
}

// runsB waits until a node that is well runs the update and is well with it,
// which it may be already.
func runsB(ctx context.Context, m *vm.Machine) error {
	if boots := m.Boots(); len(boots) > 0 && boots[len(boots)-1].Slot == "b" {
		return nil
	}
	return waitFor(healthyB)(ctx, m)
}

// showsSponsor waits until a node that is well obeys the new configuration.
func showsSponsor(ctx context.Context, m *vm.Machine) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		page, err := m.WaitHTTP(ctx, "/", 200)
		if err != nil {
			return err
		}
		if bytes.Contains(page, []byte(otherSponsor)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the new configuration: %w", context.Cause(ctx))
		}
	}
}

// settled writes the image of a node that has had its first boot, and has not
// reached the repository yet.
func (c *channel) settled(ctx context.Context, out, machines string) error {
	c.open.Store(false)
	err := scenario.Image(ctx, out, scenario.ImageOptions{Kind: scenario.Faults, Release: c.releases[0], Office: c.office})
	if err != nil {
		return err
	}
	either := grown + "|" + healthy // their order is open
	w := Workload{Drive: waitFor(either, either)}
	return w.drive(ctx, machines, vm.Config{Name: "powercut-settle", Disk: out, CPUs: 1})
}

// opened lets the machine reach the repository, then does as told.
func (c *channel) opened(f func(context.Context, *vm.Machine) error) func(context.Context, *vm.Machine) error {
	return func(ctx context.Context, m *vm.Machine) error {
		c.open.Store(true)
		return f(ctx, m)
	}
}
