package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/supervise"
	"micromirror/packages/update"
)

// work does side by side what the program is for, until one part fails.
func (f *flags) work(ctx context.Context, n *box, gate *supervise.Gate, u *update.Updater) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return gate.Run(ctx) })
	g.Go(func() error { return n.upkeep(f.state).Run(ctx) })
	g.Go(func() error { return u.Run(ctx) })
	g.Go(func() error { return n.sticks(u).Run(ctx) })
	g.Go(func() error { return f.control(ctx, n) })
	return g.Wait()
}
