package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/durable"
	"micromirror/packages/release"
)

// Options say how much to do.
type Options struct {
	Dir       string // of recordings and state: build/powercut
	Machines  string // where machines have their files: build/vm
	Workloads []Workload
	Checks    int       // of each workload at most, evenly; 0: all cuts
	Perms     int       // copies of /perm to repair, of each workload
	Boots     int       // of all workloads together
	Together  int       // machines at once, at least one
	Log       io.Writer // progress
}

// Counts is what a run has done, with what it had done before it was interrupted.
type Counts struct {
	Checked int `json:"checked"` // offline
	Bad     int `json:"bad"`     // of those
	Perms   int `json:"perms"`   // copies of /perm repaired
	Booted  int `json:"booted"`
	// Survived are those of the booted that came up from the slot that the checker
	// expected, serve and are healthy; Finished those of them that were watched on
	// until they had completed what they were at.
	Survived int `json:"survived"`
	Finished int `json:"finished"`
	ESPs     int `json:"esps"`  // different contents of the ESP
	Views    int `json:"views"` // different things that firmware and loader see
}

func (c Counts) String() string {
	return fmt.Sprintf("%d cuts checked, %d bad (%d states of the ESP, %d of them different for the loader, %d copies of /perm repaired); %d booted, %d survived, %d of them watched until all was done",
		c.Checked, c.Bad, c.ESPs, c.Views, c.Perms, c.Booted, c.Survived, c.Finished)
}

func (c *Counts) add(o Counts) {
	c.Checked += o.Checked
	c.Bad += o.Bad
	c.Perms += o.Perms
	c.Booted += o.Booted
	c.Survived += o.Survived
	c.Finished += o.Finished
	c.ESPs += o.ESPs
	c.Views += o.Views
}

// Run records each workload that has no recording yet, checks its cuts and boots
// some. It goes on where an earlier run stopped, unless a release has changed. The
// error says how many cuts did not survive.
func Run(ctx context.Context, o Options) (Counts, error) {
	o.Log = &lines{to: o.Log}
	var runs []*run
	for _, w := range o.Workloads {
		runs = append(runs, &run{Options: o, Workload: w, dir: filepath.Join(o.Dir, w.Name)})
	}
	for _, part := range []func(*run, context.Context) error{(*run).prepare, (*run).checkAll} {
		var group errgroup.Group
		group.SetLimit(max(1, o.Together))
		for _, r := range runs {
			group.Go(func() error {
				if r.failed == nil {
					r.failed = part(r, ctx)
				}
				return nil
			})
		}
		_ = group.Wait() // each keeps its own error
	}
	bootAll(ctx, o, runs)
	var total Counts
	var errs []error
	for _, r := range runs {
		if err := r.end(); err != nil {
			errs = append(errs, fmt.Errorf("power cut during %s: %w", r.Name, err))
		}
		total.add(r.state.Counts)
	}
	return total, errors.Join(errs...)
}

// lines is a writer for several writers of whole lines.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

// run is the work on one workload.
type run struct {
	Options
	Workload
	dir    string
	failed error // why nothing more can be done
	disk   *recorded
	looks  sync.Mutex // for the checker, while machines run
	check  *checker
	mu     sync.Mutex // for what follows, while machines run
	state  state
	saved  time.Time
}

// state is what a run remembers.
type state struct {
	Counts
	Inputs  string         `json:"inputs"`
	Next    int            `json:"next"`    // cut to check next
	Step    int            `json:"step"`    // from one cut that is checked to the next
	Choices map[string]int `json:"choices"` // what the loader would boot, how often
	Failed  []failure      `json:"failed,omitempty"`
	// The first cut with each content of the ESP, and with each thing that the
	// loader sees. Tried are the cuts that were booted.
	ByESP  map[string]Cut  `json:"by_esp"`
	ByView map[string]Cut  `json:"by_view"`
	Tried  map[string]bool `json:"tried"`
}

// failure is a cut that the node did not survive.
type failure struct {
	Cut      Cut      `json:"cut"`
	Problems []string `json:"problems"`
}

// prepare makes the recording, or finds it, with what is known about it.
func (r *run) prepare(ctx context.Context) error {
	inputs, err := r.inputs()
	if err != nil {
		return err
	}
	r.printf("recording")
	if err := r.record(ctx, r.dir, r.Machines, inputs); err != nil {
		return err
	}
	if err := r.load(inputs); err != nil {
		return err
	}
	r.disk, err = openRecorded(r.dir)
	return err
}

// end keeps what was found out, and gives the verdict.
func (r *run) end() error {
	if r.disk == nil {
		return r.failed
	}
	err := errors.Join(r.failed, r.disk.close(), r.save())
	r.printf("%s", r.state.Counts)
	if n := r.state.Bad + r.state.Booted - r.state.Survived; n > 0 {
		err = errors.Join(err, fmt.Errorf("%d cuts did not survive: %s", n, r.worst()))
	}
	return err
}

// worst tells about the first bad cuts.
func (r *run) worst() string {
	out := ""
	for _, b := range r.state.Failed[:min(5, len(r.state.Failed))] {
		out += fmt.Sprintf("\n  %s: %q", b.Cut, b.Problems)
	}
	return out
}

// inputs identifies what the recording is made from.
func (r *run) inputs() (string, error) {
	id := r.Name
	for _, dir := range r.Releases {
		b, err := os.ReadFile(filepath.Join(dir, release.FileName))
		if err != nil {
			return "", err
		}
		id += " " + sum(b)
	}
	return sum([]byte(id)), nil
}

func (r *run) load(inputs string) error {
	r.state = state{Inputs: inputs, Choices: map[string]int{}, ByESP: map[string]Cut{}, ByView: map[string]Cut{}, Tried: map[string]bool{}}
	data, err := os.ReadFile(filepath.Join(r.dir, stateFile))
	if err != nil {
		return nil // a new recording
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil || s.Inputs != inputs {
		return err
	}
	r.state = s
	return nil
}

func (r *run) save() error {
	r.saved = time.Now()
	data, err := json.MarshalIndent(r.state, "", " ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(r.dir, stateFile), data, 0o644)
}

func (r *run) printf(format string, args ...any) {
	fmt.Fprintf(r.Log, "powercut %s: %s\n", r.Name, fmt.Sprintf(format, args...))
}

// remaining estimates the time for the rest.
func remaining(start time.Time, done, all int) time.Duration {
	return (time.Since(start) / time.Duration(max(done, 1)) * time.Duration(all-done)).Round(time.Second)
}

// checkAll looks at the cuts offline.
func (r *run) checkAll(ctx context.Context) error {
	checker, err := newChecker(r.disk, r.Releases)
	if err != nil {
		return err
	}
	r.check = checker
	cuts, step := listCuts(r.disk.entries), 1
	if r.Checks > 0 {
		step = max(1, len(cuts)/r.Checks)
	}
	if r.state.Step != step { // what was checked before says nothing about the rest
		r.state.restart(step)
	}
	start, begun := time.Now(), r.state.Next
	p := newPlayer(r.disk, checker.watched)
	for n := begun; n < len(cuts); n += step {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f := checker.check(p.at(cuts[n]), cuts[n].Kind)
		if r.state.Perms*len(cuts) < (n+1)*r.Perms { // as many as wanted, evenly
			r.state.Perms++
			if err := checker.checkPerm(ctx, p.m, r.dir); err != nil {
				f.Problems = append(f.Problems, err.Error())
			}
		}
		r.note(cuts[n], f)
		r.state.Next = n + step
		if time.Since(r.saved) > 5*time.Second {
			r.printf("%d of %d cuts checked, %d bad, %s left", r.state.Checked, len(cuts)/step, r.state.Bad, remaining(start, n-begun, len(cuts)-begun))
			if err := r.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// restart forgets the checks, but not the boots.
func (s *state) restart(step int) {
	counts := Counts{Booted: s.Booted, Survived: s.Survived, Finished: s.Finished}
	s.Failed = slices.DeleteFunc(s.Failed, func(f failure) bool { return !s.Tried[f.Cut.String()] })
	s.Counts, s.Next, s.Step = counts, 0, step
	s.Choices, s.ByESP, s.ByView = map[string]int{}, map[string]Cut{}, map[string]Cut{}
}

// note remembers what was found.
func (r *run) note(c Cut, f finding) {
	s := &r.state
	s.Checked++
	if len(f.Problems) > 0 {
		s.Bad++
		s.Failed = append(s.Failed, failure{c, f.Problems})
	}
	s.Choices[f.Choice]++
	esp := fmt.Sprintf("%x", f.ESP)
	if _, ok := s.ByESP[esp]; !ok {
		s.ByESP[esp] = c
		s.ESPs++
	}
	if _, ok := s.ByView[f.View]; !ok {
		s.ByView[f.View] = c
		s.Views++
	}
}
