// Command build is the developers' tool behind the Makefile: it installs what
// the build host lacks, builds a release, and prints what it is made of and what
// it costs. Run it through make.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"micromirror/packages/workshop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := workshop.Command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}
