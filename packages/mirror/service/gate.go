package service

import (
	"context"
	"slices"
	"sync"
)

// gate lets a bounded number of runs through at a time, of those that wait the
// one of the smallest project first.
type gate struct {
	mu      sync.Mutex
	free    int
	waiting []*ticket
}

// ticket is a place in the queue.
type ticket struct {
	rank  int64
	ready chan struct{} // closed when the run may start
}

// enqueue takes a place; the run may start when wait returns nil.
func (g *gate) enqueue(rank int64) *ticket {
	t := &ticket{rank: rank, ready: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, t)
	g.admit()
	return t
}

// admit lets through as many as there is room for. The lock is held.
func (g *gate) admit() {
	for g.free > 0 && len(g.waiting) > 0 {
		first := slices.MinFunc(g.waiting, func(a, b *ticket) int { return int(min(max(a.rank-b.rank, -1), 1)) })
		g.waiting = slices.DeleteFunc(g.waiting, func(t *ticket) bool { return t == first })
		g.free--
		close(first.ready)
	}
}

// wait waits for its turn, or gives the place up when the context ends.
func (g *gate) wait(ctx context.Context, t *ticket) error {
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(o *ticket) bool { return o == t })
	select {
	case <-t.ready:
		g.free++
		g.admit()
	default:
	}
	return context.Cause(ctx)
}

// release makes room for another run.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free++
	g.admit()
}
