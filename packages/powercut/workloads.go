package powercut

import (
	"context"

	"micromirror/packages/scenario"
	"micromirror/packages/vm"
)

// healthy is what a node says when it has re-armed the slot that it runs.
const healthy = `mm updated: slot [ab] healthy, re-armed`

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
		Drive:   waitFor(`mm updated: /perm has grown to its partition`, healthy),
		Survive: waitFor(healthy),
	}, nil
}

// Workloads lists all workloads.
func Workloads() ([]Workload, error) {
	first, err := FirstBoot()
	if err != nil {
		return nil, err
	}
	return []Workload{first}, nil
}
