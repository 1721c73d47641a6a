// Package workshop is the developers' command line behind the Makefile: it sees
// to the build host's packages, builds releases, and prints what they are made of.
//
// Promise: each command can be run again after an interruption. What it prints on
// standard output is its result; progress and errors go to standard error.
//
// Files owned: build/ in the repository that it is run in.
package workshop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"micromirror/packages/campaign"
	"micromirror/packages/factory"
	"micromirror/packages/hostdeps"
)

// Command returns the command line.
func Command() *cobra.Command {
	var o factory.Options
	root := &cobra.Command{
		Use: "build", Short: "the developers' tool behind the Makefile",
		SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) (err error) {
			o.Log = c.ErrOrStderr()
			o.Repository, err = repository()
			return err
		},
	}
	root.PersistentFlags().StringSliceVar(&o.Tags, "tags", nil, "Go build tags for the programs of the image (faults: with fault points)")
	root.PersistentFlags().StringVar(&o.Firmware, "firmware", "", "non-free: put Debian's non-free firmware and microcode for hardware/ into the image")
	root.AddCommand(depsCommand(&o), releaseCommand(&o), manifestCommand(&o), hardwareCommand(&o), figuresCommand(&o), fuzzCommand(&o))
	return root
}

// repository is the folder with go.mod at or above the current one.
func repository() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no config.json in %s or above: run this in the repository", start)
		}
	}
}

// toolSets name what each verb of the Makefile takes, each including the former.
var toolSets = []struct {
	name  string
	tools func() []hostdeps.Tool
}{
	{"build", hostdeps.Build}, {"run", hostdeps.Run}, {"check", hostdeps.Check}, {"test", hostdeps.Test}, {"bench", hostdeps.Bench},
}

func depsCommand(o *factory.Options) *cobra.Command {
	return &cobra.Command{
		Use: "deps build|run|check|test|bench", Short: "install what the build host lacks",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var tools []hostdeps.Tool
			var names []string
			for _, set := range toolSets {
				tools = append(tools, set.tools()...)
				names = append(names, set.name)
				if set.name != args[0] {
					continue
				}
				if err := hostdeps.Ensure(c.Context(), tools, c.ErrOrStderr()); err != nil || !slices.Contains(names, "check") {
					return err
				}
				return unpackPeers(c.Context(), o.Repository)
			}
			return fmt.Errorf("%q is no set of tools; there are %s", args[0], strings.Join(names, ", "))
		},
	}
}

// unpackPeers fetches the peers of the unit tests that must not be installed.
func unpackPeers(ctx context.Context, repository string) error {
	for _, name := range hostdeps.CheckUnpacked() {
		if _, err := hostdeps.Unpacked(ctx, filepath.Join(repository, hostdeps.UnpackedDir), name); err != nil {
			return err
		}
	}
	return nil
}

func releaseCommand(o *factory.Options) *cobra.Command {
	c := &cobra.Command{
		Use: "release", Short: "build a release", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out, err := factory.Build(c.Context(), *o)
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), out)
			}
			return err
		},
	}
	c.Flags().BoolVar(&o.Refresh, "refresh", false, "ask Debian for newer packages than those fetched before")
	return c
}

func fuzzCommand(o *factory.Options) *cobra.Command {
	var f campaign.Options
	c := &cobra.Command{
		Use: "fuzz", Short: "fuzz every parser of bytes from outside, resumably", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.Dir, f.Log = o.Repository, c.OutOrStdout()
			f.State = filepath.Join(o.Repository, "build", "fuzz.json")
			f.Report = filepath.Join(o.Repository, "build", "fuzz-report.json")
			return campaign.Run(c.Context(), f)
		},
	}
	c.Flags().DurationVar(&f.Time, "time", 10*time.Minute, "time for each target")
	c.Flags().StringVar(&f.Only, "only", "", "the targets whose folder and name contain this")
	c.Flags().IntVar(&f.Workers, "workers", 0, "processes at a time, 0 for one for each processor")
	return c
}
