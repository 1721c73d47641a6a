// Command mirrorctl is the maintainers' tool, from a host's first yes to a fleet
// of nodes that are updated and watched. `mirrorctl help` lists its commands,
// `mirrorctl help guide` begins at the beginning.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"micromirror/packages/desk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := desk.Command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mirrorctl:", err)
		os.Exit(1)
	}
}
