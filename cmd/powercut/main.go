// Powercut checks that a node survives a power cut at any moment: it records
// machines at work, replays what reached their disks, and prints the counts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"micromirror/packages/powercut"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := powercut.Options{Dir: filepath.Join("build", "powercut"), Machines: filepath.Join("build", "vm"), Log: os.Stdout}
	flags := flag.NewFlagSet("powercut", flag.ContinueOnError)
	flags.IntVar(&o.Boots, "boots", 100, "cuts to boot, over all workloads")
	flags.IntVar(&o.Checks, "checks", 0, "cuts to check offline in each workload, 0 for all")
	flags.IntVar(&o.Together, "together", 2, "machines at once")
	flags.IntVar(&o.Perms, "perms", 100, "copies of /perm to repair in each workload")
	only := flags.String("only", "", "the one workload to go on with, of first-boot, update and configuration")
	if err := flags.Parse(args); err != nil {
		return err
	}
	workloads, end, err := powercut.Workloads(ctx, o.Dir, o.Machines)
	if err != nil {
		return err
	}
	o.Workloads = slices.DeleteFunc(workloads, func(w powercut.Workload) bool { return *only != "" && w.Name != *only })
	counts, err := powercut.Run(ctx, o)
	if err = errors.Join(err, end()); err != nil {
		fmt.Fprintln(os.Stderr, "powercut:", err)
	}
	fmt.Printf("powercut: %s\n", counts)
	if err != nil {
		return fmt.Errorf("not every cut was survived, or not every one was tried")
	}
	return nil
}
