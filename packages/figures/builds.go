package figures

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/factory"
)

// builds measures a build without Go's cache and one with it, in folders of their
// own. Debian packages and Go modules are downloaded already; what the network
// adds says nothing about the release.
func builds(ctx context.Context, o Options, _ string) (_ []Figure, err error) {
	cache, err := os.MkdirTemp("", "micromirror-figures")
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(cache)) }()
	build := factory.Options{Repository: o.Repository, Log: o.Log, Folder: "figures"}
	defer func() {
		err = errors.Join(err, os.RemoveAll(build.Out()), os.RemoveAll(filepath.Join(o.Repository, "build", "work", build.Folder)))
	}()
	var out []Figure
	if o.Cold {
		build.Env = []string{"GOCACHE=" + cache}
		took, err := timed(ctx, build)
		if err != nil {
			return nil, err
		}
		out = append(out, Figure{Group: "build", Name: "cold", Value: took, Unit: "s", Note: "empty Go cache; Debian packages and modules are there"})
	}
	took, err := timed(ctx, build)
	if err != nil {
		return nil, err
	}
	return append(out, Figure{Group: "build", Name: "warm", Value: took, Unit: "s", Note: "full Go cache, nothing else"}), nil
}

// timed builds a release from nothing and says how many seconds that took.
func timed(ctx context.Context, o factory.Options) (float64, error) {
	if err := os.RemoveAll(o.Out()); err != nil {
		return 0, fmt.Errorf("figures: %w", err)
	}
	start := time.Now()
	_, err := factory.Build(ctx, o)
	return time.Since(start).Seconds(), err
}
