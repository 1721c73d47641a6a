package powercut

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// job is a machine to start.
type job struct {
	*run
	cut Cut
	nth int // of its run
}

// shared lists the cuts to boot, of all runs in turn, without those that were
// booted before, which are counted. The runs share what is wanted evenly; what one
// has no cuts for, the next ones may use.
func shared(runs []*run, boots int) (todo []job, before int) {
	for n, r := range runs {
		if r.failed != nil {
			continue
		}
		cuts := r.chosen(boots / (len(runs) - n))
		boots -= len(cuts)
		for nth, c := range cuts {
			if r.state.Tried[c.String()] {
				before++
				continue
			}
			todo = append(todo, job{r, c, nth})
		}
	}
	slices.SortStableFunc(todo, func(a, b job) int { return cmp.Compare(a.nth, b.nth) })
	return todo, before
}

// bootAll starts machines from cuts.
func bootAll(ctx context.Context, o Options, runs []*run) {
	todo, before := shared(runs, o.Boots)
	var done atomic.Int32
	start := time.Now()
	var group errgroup.Group
	group.SetLimit(max(1, o.Together))
	for n, j := range todo {
		group.Go(func() error {
			if ctx.Err() == nil {
				j.printf("boot %d of %d: %s, %s left", before+n+1, before+len(todo), j.cut, remaining(start, int(done.Load()), len(todo)))
				j.try(ctx, j.cut)
				done.Add(1)
			}
			return nil
		})
	}
	_ = group.Wait() // each run keeps its own error
}

// try boots a cut and remembers what became of it.
func (r *run) try(ctx context.Context, c Cut) {
	start := time.Now()
	finish := r.Finish != nil && slices.Contains(slices.Collect(maps.Values(r.state.ByView)), c)
	problem, err := r.boot(ctx, c, finish)
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.state
	switch {
	case ctx.Err() != nil: // nothing is known about this cut
		r.failed = context.Cause(ctx)
		return
	case err != nil:
		r.failed = err
		return
	case problem == nil:
		s.Survived++
		if finish {
			s.Finished++
		}
		r.printf("%s: survived, in %v", c, time.Since(start).Round(time.Second))
	default:
		s.Failed = append(s.Failed, failure{c, []string{problem.Error()}})
		r.printf("%s: %v", c, problem)
	}
	s.Tried[c.String()] = true
	s.Booted++
	r.failed = errors.Join(r.failed, r.save())
}

// chosen lists the cuts to boot: one for each thing that the loader can see, then
// others, evenly spread.
func (r *run) chosen(boots int) []Cut {
	var out []Cut
	taken := map[string]bool{}
	take := func(c Cut) {
		if len(out) < boots && !taken[c.String()] {
			taken[c.String()] = true
			out = append(out, c)
		}
	}
	spread := func(cuts []Cut) {
		n := min(boots-len(out), len(cuts))
		for k := range n {
			take(cuts[(2*k+1)*len(cuts)/(2*n)])
		}
	}
	spread(slices.SortedFunc(maps.Values(r.state.ByView), func(a, b Cut) int { return cmp.Compare(a.Before, b.Before) }))
	all := listCuts(r.disk.entries)
	for _, c := range all { // a run that asks for more goes on with these
		if r.state.Tried[c.String()] {
			take(c)
		}
	}
	spread(all)
	for _, c := range all { // in place of those that were taken already
		take(c)
	}
	return out
}

// bootLimit is how long a machine may take to come up, an update and the tries of
// a slot included, on a computer that has much else to do.
const bootLimit = 2 * time.Hour

// boot starts a machine from a cut. The problem is the node's, the error is not.
func (r *run) boot(ctx context.Context, c Cut, finish bool) (problem, err error) {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	path := filepath.Join(r.dir, fmt.Sprintf(bootFile, c))
	defer os.Remove(path)
	expected, err := r.extract(c, path)
	if err != nil {
		return nil, err
	}
	config := r.machine()
	config.Disk, config.Size = path, 0
	machine, err := vm.Launch(ctx, r.Machines, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, machine.Close()) }()
	problem = r.Survive(ctx, machine)
	if problem == nil {
		problem = comeUp(ctx, machine, expected)
	}
	if problem == nil && finish {
		problem = r.Finish(ctx, machine)
	}
	if problem != nil {
		return errors.Join(problem, machine.Keep(filepath.Join(r.Dir, "bad", r.Name+" "+c.String()))), nil
	}
	return nil, nil
}

// extract writes the disk after a cut to a file. It returns the slot that the
// loader should start.
func (r *run) extract(c Cut, path string) (slot.Name, error) {
	m := newPlayer(r.disk, r.check.watched).at(c)
	r.looks.Lock()
	expected := r.check.check(m, c.Kind).Slot
	r.looks.Unlock()
	return expected, m.extract(path, extent{0, r.disk.size})
}

// comeUp wants that the loader started what the checker expected, and that others
// can reach what runs now.
func comeUp(ctx context.Context, m *vm.Machine, expected slot.Name) error {
	if boots := m.Boots(); len(boots) == 0 || boots[0].Slot != string(expected) {
		return fmt.Errorf("the loader should have started slot %s: %+v", expected, boots)
	}
	_, err := m.WaitHTTP(ctx, "/", http.StatusOK)
	return err
}
