package daemon

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/sender"
)

// share is a module with its list, which all connections have in common.
type share struct {
	*Module
	exclude *filter.List
	slots   slots

	mu      sync.Mutex
	current *offer // the newest list, nil before the first scan
	scan    *scan  // under way, or nil
}

// offer is a list and the directory it was read from. The directory is closed
// when no connection uses it any more, by the garbage collector.
type offer struct {
	generation string
	tree       *sender.Tree
	root       *os.File
}

// scan is one reading of the tree, for which any number of connections wait.
type scan struct {
	generation string
	done       chan struct{}
	offer      *offer
	err        error
}

// get gives the list of the tree's present generation. If reading it takes
// longer than wait, the list before it has to do.
func (s *share) get(ctx context.Context, wait time.Duration) (*offer, error) {
	if s.Generation == nil {
		return s.read(ctx, "", nil)
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		generation, err := s.Generation()
		if err != nil {
			return nil, fmt.Errorf("module %s: generation: %w", s.Name, err)
		}
		job, now := s.begin(ctx, generation)
		if now != nil {
			return now, nil
		}
		select {
		case <-job.done:
			if job.generation == generation {
				return job.offer, job.err
			}
		case <-timeout.C:
			return s.older()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// begin gives the current list if it is of the generation, else the scan to
// wait for. A scan outlives the connection that wanted it: others will.
func (s *share) begin(ctx context.Context, generation string) (*scan, *offer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.current.generation == generation {
		return nil, s.current
	}
	if s.scan == nil {
		job := &scan{generation: generation, done: make(chan struct{})}
		s.scan = job
		go s.run(context.WithoutCancel(ctx), job)
	}
	return s.scan, nil
}

func (s *share) run(ctx context.Context, job *scan) {
	s.mu.Lock()
	before := s.current
	s.mu.Unlock()
	job.offer, job.err = s.read(ctx, job.generation, before)
	s.mu.Lock()
	if job.err == nil {
		s.current = job.offer
	}
	s.scan = nil
	s.mu.Unlock()
	close(job.done)
}

func (s *share) older() (*offer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, fmt.Errorf("module %s: %w", s.Name, ErrBusy)
	}
	return s.current, nil
}

func (s *share) read(ctx context.Context, generation string, before *offer) (*offer, error) {
	root, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", s.Name, err)
	}
	opts := sender.ScanOptions{Exclude: s.exclude, Unreadable: s.Unreadable}
	if before != nil {
		opts.Like = before.tree
	}
	steady := s.Steady
	if steady == nil {
		steady = func(_ context.Context, read func() error) error { return read() }
	}
	var tree *sender.Tree
	err = steady(ctx, func() (err error) {
		tree, err = sender.Scan(ctx, root, opts)
		return err
	})
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("module %s: %w", s.Name, err)
	}
	return &offer{generation, tree, root}, nil
}
