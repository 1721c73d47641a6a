// Syncbench measures the rsync engine against rsync itself. With the argument
// "pull" it is one of the measured clients.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	bench "micromirror/packages/bench/sync"
	"micromirror/packages/rsync/client"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "syncbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 4 && args[0] == "pull" {
		return bench.Pull(ctx, client.Config{Addr: args[1], Module: args[2]}, args[3])
	}
	if len(args) > 1 && args[0] == "timed" {
		return bench.Timed(ctx, args[1:], os.Stdout)
	}
	flags := flag.NewFlagSet("syncbench", flag.ContinueOnError)
	dir := flags.String("dir", filepath.Join(os.TempDir(), "syncbench"), "where data is made and kept")
	only := flags.String("scenarios", "abcde", "which to run")
	scale := flags.Float64("scale", 1, "size of the data")
	rounds := flags.Int("rounds", 5, "runs of each client")
	if err := flags.Parse(args); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	_, err = bench.Run(ctx, bench.Options{
		Dir: *dir, Scenarios: *only, Scale: *scale, Rounds: *rounds, Self: []string{self, "pull"}, Timer: []string{self, "timed"},
		Report: func(line string) { fmt.Println(line) },
	})
	return err
}
