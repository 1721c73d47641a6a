// Syncbench measures the rsync engine against rsync itself: as client, or with
// -daemon as daemon. With the arguments "pull", "serve" and "timed" it is one of
// the processes that are measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"micromirror/packages/bench"
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
	o := sync.Options{Report: func(line string) { fmt.Println(line) }, Timer: []string{self, "timed"}}
	flags := flag.NewFlagSet("syncbench", flag.ContinueOnError)
	flags.StringVar(&o.Dir, "dir", filepath.Join(os.TempDir(), "syncbench"), "where data is made and kept")
	flags.StringVar(&o.Scenarios, "scenarios", "abcdef", "which to run")
	flags.Float64Var(&o.Scale, "scale", 1, "size of the data")
	flags.IntVar(&o.Rounds, "rounds", 5, "runs of each side")
	daemon := flags.Bool("daemon", false, "measure daemons instead of clients")
	if err := flags.Parse(args); err != nil {
		return err
	}
	name, compare := "sync-client", sync.Run
	o.Self = []string{self, "pull"}
	if *daemon {
		name, compare = "sync-daemon", sync.RunServe
		o.Self = []string{self, "serve"}
	}
	rows, err := compare(ctx, o)
	if err != nil {
		return err
	}
	table := sync.Table(rows, o.Scale)
	if err := bench.Print(os.Stdout, "rsync", table); err != nil {
		return err
	}
	return bench.Write(filepath.Join("build", "bench"), name, table)
}
