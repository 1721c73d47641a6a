// Command demo shows the appliance on this computer: it builds the image and an
// upstream, boots the image in QEMU, and prints the addresses. Run it through
// make run, in the repository's top folder.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"micromirror/packages/demo/show"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	_, err = unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	return show.Run(ctx, show.Options{Repository: dir, Out: os.Stdout, Terminal: err == nil})
}
