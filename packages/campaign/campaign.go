// Package campaign runs the repository's fuzz targets one after the other and
// remembers how far it came.
//
// Promise: Run finds every FuzzXxx function below the given folder, fuzzes each
// for a set time with the go command, and records each finished target in a state
// file, so that a run that was interrupted goes on where it stopped. A target
// that fails stops nothing: the rest is fuzzed, and the error at the end names
// every failure and where its input was kept (testdata/fuzz, to be committed).
package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"micromirror/packages/durable"
)

// Options say what to fuzz and for how long.
type Options struct {
	Dir   string        // the repository
	Time  time.Duration // a target
	State string        // file that remembers finished targets
	Log   io.Writer     // a line a target
}

// Target is one fuzz function.
type Target struct{ Dir, Name string }

func (t Target) String() string { return t.Dir + "." + t.Name }

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// Targets lists the fuzz functions below dir, in a fixed order.
func Targets(dir string) ([]Target, error) {
	var found []Target
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || strings.HasPrefix(d.Name(), ".") && path != dir) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, filepath.Dir(path))
		for _, m := range fuzzFunc.FindAllSubmatch(src, -1) {
			found = append(found, Target{rel, string(m[1])})
		}
		return err
	})
	return found, err
}

// Run fuzzes every target that the state file does not name as finished. When
// all are finished the state file is removed, so that the next run starts anew.
func Run(ctx context.Context, o Options) error {
	targets, err := Targets(o.Dir)
	if err != nil {
		return fmt.Errorf("find fuzz targets: %w", err)
	}
	done, err := readState(o.State)
	if err != nil {
		return err
	}
	var failed []error
	for i, t := range targets {
		if slices.Contains(done, t.String()) {
			fmt.Fprintf(o.Log, "fuzz %d/%d %s: finished earlier\n", i+1, len(targets), t)
			continue
		}
		fmt.Fprintf(o.Log, "fuzz %d/%d %s for %v\n", i+1, len(targets), t, o.Time)
		if err := fuzz(ctx, o, t); err != nil {
			failed = append(failed, err)
			continue
		}
		done = append(done, t.String())
		if err := writeState(o.State, done); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	return durable.Remove(o.State)
}

// fuzz tries the inputs that are known first: the fuzzing engine counts the time
// that it takes to start, and a short time may be over before it has tried any.
func fuzz(ctx context.Context, o Options, t Target) error {
	if out, err := goTest(ctx, o, t, "-run=^"+t.Name+"$"); err != nil {
		return fmt.Errorf("fuzz %s: %w\n%s", t, err, out)
	}
	out, err := goTest(ctx, o, t, "-run=^$", "-fuzz=^"+t.Name+"$", "-fuzztime="+o.Time.String())
	lines := strings.Split(strings.TrimSpace(string(bytes.TrimSpace(out))), "\n")
	for _, l := range slices.Backward(lines) {
		if strings.HasPrefix(l, "fuzz: elapsed") {
			fmt.Fprintf(o.Log, "  %s\n", strings.TrimPrefix(l, "fuzz: "))
			break
		}
	}
	if err != nil {
		return fmt.Errorf("fuzz %s: %w\n%s", t, err, out)
	}
	return nil
}

func goTest(ctx context.Context, o Options, t Target, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"test"}, args...), "./"+t.Dir)...)
	cmd.Dir = o.Dir
	return cmd.CombinedOutput()
}

func readState(name string) ([]string, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var done []string
	if err := json.Unmarshal(data, &done); err != nil {
		return nil, fmt.Errorf("%s: %w (remove it to start anew)", name, err)
	}
	return done, nil
}

func writeState(name string, done []string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(done, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(name, data, 0o644)
}
