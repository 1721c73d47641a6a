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
	return show.Run(ctx, show.Options{Repository: dir, Out: os.Stdout, Columns: columns(os.Stdout)})
}

// columns is the width of the terminal that f is, 0 if it is none. A terminal
// that does not know its width has the usual one.
func columns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	if size.Col < 2 {
		return 80
	}
	return int(size.Col)
}
