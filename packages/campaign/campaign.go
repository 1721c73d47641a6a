// Package campaign runs the repository's fuzz targets one after the other and
// remembers how far it came.
//
// Promise: Run finds every FuzzXxx function below the given folder, fuzzes each
// for a set time with the go command, and records each finished target in a state
// file, so that a run that was interrupted goes on where it stopped. A target
// that fails stops nothing: the rest is fuzzed, and the error at the end names
// every failure and where its input was kept (testdata/fuzz, to be committed).
// How often each target was executed stays in a report when the run is over; the
// inputs that led to new code stay in the go command's cache, where the next run
// begins with them.
package campaign

import (
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
	"strconv"
	"strings"
	"time"

	"micromirror/packages/durable"
)

// Options say what to fuzz and for how long.
type Options struct {
	Dir     string        // the repository
	Only    string        // targets whose folder and name contain this
	Time    time.Duration // a target
	Workers int           // processes at a time, 0 = one for each processor
	State   string        // file that remembers finished targets
	Report  string        // file that keeps what each target came to
	Log     io.Writer     // a line a target
}

// Result is what a target came to.
type Result struct {
	Target      string  `json:"target"`
	Seconds     float64 `json:"seconds"`
	Executions  int64   `json:"executions"`
	Interesting int64   `json:"interesting"` // new inputs that led to new code
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
	targets = slices.DeleteFunc(targets, func(t Target) bool { return !strings.Contains(t.String(), o.Only) })
	done, err := read(o.State)
	if err != nil {
		return err
	}
	var failed []error
	for i, t := range targets {
		if find(done, t) >= 0 {
			fmt.Fprintf(o.Log, "fuzz %d/%d %s: finished earlier\n", i+1, len(targets), t)
			continue
		}
		fmt.Fprintf(o.Log, "fuzz %d/%d %s for %v\n", i+1, len(targets), t, o.Time)
		r, err := fuzz(ctx, o, t)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(o.Log, "  %d executions, %d new inputs\n", r.Executions, r.Interesting)
		done = append(done, r)
		if err := o.keep(done, r); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	return durable.Remove(o.State)
}

// keep records a finished target, in the report in place of what it came to
// before.
func (o *Options) keep(done []Result, r Result) error {
	report, err := read(o.Report)
	if err != nil {
		return err
	}
	report = slices.DeleteFunc(report, func(old Result) bool { return old.Target == r.Target })
	return errors.Join(write(o.State, done), write(o.Report, append(report, r)))
}

func find(results []Result, t Target) int {
	return slices.IndexFunc(results, func(r Result) bool { return r.Target == t.String() })
}

// fuzz tries the inputs that are known first: the fuzzing engine counts the time
// that it takes to start, and a short time may be over before it has tried any.
func fuzz(ctx context.Context, o Options, t Target) (Result, error) {
	if out, err := goTest(ctx, o, t, "-run=^"+t.Name+"$"); err != nil {
		return Result{}, fmt.Errorf("fuzz %s: %w\n%s", t, err, out)
	}
	args := []string{"-run=^$", "-fuzz=^" + t.Name + "$", "-fuzztime=" + o.Time.String()}
	if o.Workers > 0 {
		args = append(args, fmt.Sprintf("-parallel=%d", o.Workers))
	}
	out, err := goTest(ctx, o, t, args...)
	if err != nil {
		return Result{}, fmt.Errorf("fuzz %s: %w\n%s", t, err, out)
	}
	r := Result{Target: t.String(), Seconds: o.Time.Seconds()}
	r.Executions, r.Interesting = counts(out)
	return r, nil
}

var countLine = regexp.MustCompile(`(?m)^fuzz: elapsed: .*, execs: (\d+) .*new interesting: (\d+)`)

// counts finds the last figures that the engine has printed.
func counts(out []byte) (executions, interesting int64) {
	all := countLine.FindAllSubmatch(out, -1)
	if len(all) == 0 {
		return 0, 0
	}
	last := all[len(all)-1]
	executions, _ = strconv.ParseInt(string(last[1]), 10, 64) // digits only
	interesting, _ = strconv.ParseInt(string(last[2]), 10, 64)
	return executions, interesting
}

func goTest(ctx context.Context, o Options, t Target, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"test"}, args...), "./"+t.Dir)...)
	cmd.Dir = o.Dir
	return cmd.CombinedOutput()
}

func read(name string) ([]Result, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var results []Result
	if err := json.Unmarshal(data, &results); err != nil {
		return nil, fmt.Errorf("%s: %w (remove it to start anew)", name, err)
	}
	return results, nil
}

func write(name string, results []Result) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(name, data, 0o644)
}
