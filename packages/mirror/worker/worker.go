// Package worker does the first half of a run, mirror.Fetch, and mirror.Check in a
// process of its own, so that a bug or an attack there cannot publish.
//
// Promise: the worker can write to its part of the project's stage and nowhere
// else, so neither to the journal of a publish nor to the mark of a torn tree; read
// that and the project's tree, connect to upstream's port, and use a bounded
// amount of memory; it dies with its parent and ends within seconds when the
// parent's context does. What it hands back is a plan file, which the parent
// reads as a stranger's (packages plan and mirror).
//
// Protocol: the parent writes a Task as JSON to the worker's standard input and
// closes it; the worker writes lines of JSON, each with one field set:
// {"progress":…}, at last {"outcome":…}, {"checked":…} or {"error":…}. Its standard error is
// the parent's. No files, no ports besides.
package worker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/child"
	"micromirror/packages/mirror"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
)

// Task is what a worker is told. It can connect and tell the time by itself.
type Task struct {
	Name        string          `json:"name"`
	Project     project.Project `json:"project"`
	Tree        string          `json:"tree"`
	Stage       string          `json:"stage"`
	GoneFile    string          `json:"gone_file"`
	Grace       time.Duration   `json:"grace"`
	Own         []string        `json:"own"`
	Reserve     int64           `json:"reserve"`
	AllowShrink bool            `json:"allow_shrink"`
	Rate        int64           `json:"rate"` // further bound, bytes a second; 0 is none
	// Tolerate and TolerateFailed are those of mirror.Job.
	Tolerate       bool `json:"tolerate"`
	TolerateFailed bool `json:"tolerate_failed"`
	Attempts       int  `json:"attempts"` // 0 is the default
	// Distrust is that of mirror.Job.
	Distrust []string `json:"distrust,omitempty"`
	// Check asks for mirror.Check instead of mirror.Fetch.
	Check bool `json:"check,omitempty"`
	// Cmdline is the kernel's command line, by which a test may order faults. Nothing
	// of /proc is open to a worker.
	Cmdline string `json:"cmdline"`
}

// message is one line from the worker.
type message struct {
	Progress *status.Progress `json:"progress,omitempty"`
	Outcome  *outcome         `json:"outcome,omitempty"`
	Checked  *mirror.Checked  `json:"checked,omitempty"`
	Error    string           `json:"error,omitempty"`
}

type outcome struct {
	mirror.Outcome
	Failed string // an error does not travel
}

// maxMessage bounds a message of a worker. How many there are says nothing: a
// first synchronisation may report for days.
const maxMessage = 4 << 20

// FaultPhase begins the phase that a worker reports when it hangs as a test
// ordered.
const FaultPhase = "fault "

// stopGrace is how long a worker may take to end when told to.
const stopGrace = 4 * time.Second

// Fetch runs command as a worker for the task and waits for its outcome.
func Fetch(ctx context.Context, command []string, task Task, progress func(status.Progress)) (mirror.Outcome, error) {
	task.Check = false
	m, err := run(ctx, command, task, progress)
	if err != nil || m.Outcome == nil {
		return mirror.Outcome{}, cmp.Or(err, errSilent)
	}
	if m.Outcome.Failed != "" {
		m.Outcome.Outcome.Failed = errors.New(m.Outcome.Failed)
	}
	return m.Outcome.Outcome, nil
}

// Check does the same for a check.
func Check(ctx context.Context, command []string, task Task) (mirror.Checked, error) {
	task.Check = true
	m, err := run(ctx, command, task, func(status.Progress) {})
	if err != nil || m.Checked == nil {
		return mirror.Checked{}, cmp.Or(err, errSilent)
	}
	return *m.Checked, nil
}

// run runs a worker and returns its last message.
func run(ctx context.Context, command []string, task Task, progress func(status.Progress)) (message, error) {
	input, err := json.Marshal(task)
	if err != nil {
		return message{}, fmt.Errorf("start worker: %w", err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		return message{}, fmt.Errorf("start worker: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = in, os.Stderr
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", MemoryLimit))
	p, err := child.Start(cmd)
	in.Close()
	if err != nil {
		return message{}, fmt.Errorf("start worker: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { p.Stop(stopGrace) })
	defer stop()
	res, err := listen(out, progress)
	// It has said all. While it is there it could change what it has fetched, and
	// nobody reads what it might still say.
	late := time.AfterFunc(stopGrace, func() { p.Stop(stopGrace) })
	defer late.Stop()
	if werr := p.Wait(); werr != nil && errors.Is(err, errSilent) {
		err = fmt.Errorf("worker: %w", werr)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return res, err
}

var errSilent = errors.New("worker ended without a word")

// listen reads the worker's messages, a line each, to the last.
func listen(r io.Reader, progress func(status.Progress)) (message, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMessage)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return message{}, fmt.Errorf("worker: %w", err)
		}
		switch {
		case m.Progress != nil:
			progress(*m.Progress)
		case m.Outcome != nil, m.Checked != nil:
			return m, nil
		default:
			return message{}, errors.New(m.Error)
		}
	}
	return message{}, fmt.Errorf("worker: %w", cmp.Or(lines.Err(), errSilent))
}

// Main is the worker: it reads its task from r and writes messages to w. enter
// confines the process and is called before upstream is.
func Main(ctx context.Context, r io.Reader, w io.Writer, enter func(Task) error, log *slog.Logger) error {
	var task Task
	if err := json.NewDecoder(r).Decode(&task); err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	task.Project.Name = task.Name
	var mu sync.Mutex
	enc := json.NewEncoder(w)
	send := func(m message) error {
		mu.Lock()
		defer mu.Unlock()
		return enc.Encode(m)
	}
	if err := enter(task); err != nil {
		return errors.Join(err, send(message{Error: err.Error()}))
	}
	job, err := task.job(log)
	job.Fault = mirror.Faults(task.Cmdline, func(phase string) {
		send(message{Progress: &status.Progress{Phase: FaultPhase + phase}})
	})
	if err != nil {
		return errors.Join(err, send(message{Error: err.Error()}))
	}
	var last time.Time
	var phase string
	job.Progress = func(p status.Progress) {
		mu.Lock()
		quiet := p.Phase == phase && time.Since(last) < 250*time.Millisecond
		if !quiet {
			last, phase = time.Now(), p.Phase
		}
		mu.Unlock()
		if !quiet {
			send(message{Progress: &p}) // a parent that is gone shows at the end
		}
	}
	if task.Check {
		checked, err := mirror.Check(ctx, job, mirror.SampleDialer(task.Project, task.limiter(), 0, log))
		if err != nil {
			return send(message{Error: err.Error()})
		}
		return send(message{Checked: &checked})
	}
	res, err := mirror.Fetch(ctx, job)
	if err != nil {
		return send(message{Error: err.Error()})
	}
	o := &outcome{Outcome: res}
	if res.Failed != nil {
		o.Failed, o.Outcome.Failed = res.Failed.Error(), nil
	}
	return send(message{Outcome: o})
}

// limiter is the further bound on the transfer, nil for none.
func (t *Task) limiter() *rate.Limiter {
	if t.Rate <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(t.Rate), int(max(t.Rate/4, 64<<10)))
}

// job makes the worker's job of its task.
func (t *Task) job(log *slog.Logger) (mirror.Job, error) {
	gone, err := plan.LoadGone(t.GoneFile)
	if err != nil {
		log.Warn("starting without tombstones", "project", t.Name, "err", err)
	}
	return mirror.Job{
		Project: t.Project, Tree: t.Tree, Stage: t.Stage,
		Dial: mirror.RsyncDialer(t.Project, t.limiter(), 0, log),
		Gone: gone, Grace: t.Grace, Own: mirror.OwnNames(t.Own), Reserve: t.Reserve, AllowShrink: t.AllowShrink, Tolerate: t.Tolerate, TolerateFailed: t.TolerateFailed,
		Attempts: t.Attempts, Distrust: t.Distrust,
		Now: time.Now, Wait: mirror.Wait, Log: log,
	}, nil
}
