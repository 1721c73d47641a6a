// Syncbench measures the rsync engine against rsync itself, as client and as
// daemon, and whole runs of the mirror against rsync as the fleet's recipe calls
// it. With the arguments "pull", "serve", "whole", "fetch", "plan" and "timed" it
// is one of the processes that are measured.
//
// The figures at full size are written to build/bench/sync.json, those of a
// smaller size to sync-SCALE.json. A measurement that was interrupted goes on
// behind the scenarios that it has finished, unless the program has changed.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"micromirror/packages/bench/sync"
	"micromirror/packages/rsync/client"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "syncbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 4 && args[0] == "pull":
		return sync.Pull(ctx, client.Config{Addr: args[1], Module: args[2]}, args[3])
	case len(args) == 4 && args[0] == "whole":
		return sync.Whole(ctx, []string{os.Args[0], "fetch"}, args[1], args[2], args[3])
	case len(args) == 1 && args[0] == "fetch":
		return sync.Fetch(ctx, os.Stdin, os.Stdout)
	case len(args) == 3 && args[0] == "plan":
		entries, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return sync.Plan(entries, args[2])
	case len(args) == 2 && args[0] == "serve":
		return sync.Serve(ctx, args[1], os.Stdout)
	case len(args) > 1 && args[0] == "timed":
		return sync.Timed(ctx, args[1:], os.Stdout)
	}
	return measure(ctx, args)
}

func measure(ctx context.Context, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o := sync.Options{
		Report: func(line string) { fmt.Println(line) },
		Whole:  []string{self, "whole"}, Plan: []string{self, "plan"},
		Pull: []string{self, "pull"}, Serve: []string{self, "serve"}, Timer: []string{self, "timed"},
	}
	flags := flag.NewFlagSet("syncbench", flag.ContinueOnError)
	flags.StringVar(&o.Dir, "dir", filepath.Join(os.TempDir(), "syncbench"), "where data is made and kept")
	flags.StringVar(&o.Scenarios, "scenarios", "abcdefgh", "which to run")
	flags.StringVar(&o.Sides, "sides", "client,daemon,run", "which to measure")
	flags.Float64Var(&o.Scale, "scale", 1, "size of the data")
	flags.IntVar(&o.Rounds, "rounds", 5, "runs of each side")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return sync.Measure(ctx, o, self, filepath.Join("build", "bench"), os.Stdout)
}
