package repository

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"micromirror/packages/release"
	"micromirror/packages/rollout"
)

// Rollout returns the decision in force; ErrNoTarget when there is none.
func (r *Repository) Rollout() (*rollout.Rollout, error) {
	s, err := r.load()
	if err != nil {
		return nil, err
	}
	return r.rollout(s)
}

func (r *Repository) rollout(s *set) (*rollout.Rollout, error) {
	data, err := r.target(s, rollout.Target)
	if err != nil {
		return nil, err
	}
	return rollout.Parse(data)
}

// SetRollout signs a decision. What it leaves open is filled in: the next
// sequence number, the time, the version as seed, the release's hardware. The
// release must be in the repository, and only an emergency goes back to one that
// was built before the one in force.
func (r *Repository) SetRollout(ctx context.Context, want rollout.Rollout) (*rollout.Rollout, error) {
	err := r.change(ctx, "set rollout", func(s *set) error {
		rels, err := r.releases(s)
		if err != nil {
			return err
		}
		rel, err := find(rels, want.Version)
		if err != nil {
			return err
		}
		old, err := r.rollout(s)
		if err != nil && !errors.Is(err, ErrNoTarget) {
			return err
		}
		if err := r.complete(&want, rel, old, rels); err != nil {
			return err
		}
		data, err := want.Marshal()
		if err != nil {
			return err
		}
		if want.Minimum != "" && rollout.Compare(want.Minimum, want.Version) > 0 {
			return fmt.Errorf("minimum: %s is newer than release %s, so that no node could take it; name an older one", want.Minimum, want.Version)
		}
		_, err = r.publish(s, map[string]source{rollout.Target: fromBytes(data)}, none)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &want, nil
}

func (r *Repository) complete(want *rollout.Rollout, rel *release.Release, old *rollout.Rollout, rels []release.Release) error {
	next := uint64(1)
	if old != nil {
		next = old.Sequence + 1
		before, err := find(rels, old.Version)
		if err == nil && rel.Built.Before(before.Built) && !want.Emergency {
			return fmt.Errorf(`release %s is older than %s, which is in force: go back with "mirrorctl rollback %s"`, rel.Version, old.Version, rel.Version)
		}
	}
	switch {
	case want.Sequence == 0:
		want.Sequence = next
	case want.Sequence < next:
		return fmt.Errorf("sequence %d is not above %d, which is in force", want.Sequence, next-1)
	}
	if want.Issued.IsZero() {
		want.Issued = r.now().UTC()
	}
	if want.Seed == "" {
		want.Seed = want.Version
	}
	if want.Hardware == nil {
		want.Hardware = rel.Hardware
	}
	return nil
}

// Names of the configuration in the repository.
const (
	FleetTarget = "config/fleet.json"
	nodeTargets = "config/nodes/"
)

// NodeTarget is the path of a node's file.
func NodeTarget(name string) string { return nodeTargets + name + ".json" }

// SecretTarget is the path of a node's secrets, encrypted to its key.
func SecretTarget(name string) string { return nodeTargets + name + ".age" }

// SetConfig publishes the configuration of the whole fleet, by path: what is not
// among the files is no longer there afterwards. It reports whether anything
// changed.
func (r *Repository) SetConfig(ctx context.Context, files map[string][]byte) (changed bool, err error) {
	add := map[string]source{}
	for _, target := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasPrefix(target, "config/") {
			return false, fmt.Errorf("publish configuration: %s is not below config/", target)
		}
		add[target] = fromBytes(files[target])
	}
	err = r.change(ctx, "publish configuration", func(s *set) error {
		changed, err = r.publish(s, add, func(target string) bool { return strings.HasPrefix(target, "config/") })
		return err
	})
	return changed, err
}
