// Command mirrorctl is the maintainers' tool: it checks node files and makes
// disk images of a fleet's nodes. `mirrorctl help` lists its commands.
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
