package service

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"micromirror/packages/daemon"
	"micromirror/packages/mirror"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/publish"
	"micromirror/packages/mirror/status"
	"micromirror/packages/mirror/trace"
	"micromirror/packages/mirror/verify"
	"micromirror/packages/mirror/worker"
)

// job is the project's part of the configuration for one run.
func (k *keeper) job(allowShrink bool) mirror.Job {
	cfg := &k.service.cfg
	gone, err := plan.LoadGone(k.goneFile())
	if err != nil {
		cfg.Log.Warn("starting without tombstones", "project", k.project.Name, "err", err)
	}
	return mirror.Job{
		Project: k.project,
		Tree:    filepath.Join(cfg.Mirror, filepath.FromSlash(k.project.Path)),
		Stage:   filepath.Join(cfg.Stage, k.project.Name), Editions: k.service.editions(),
		Dial: mirror.RsyncDialer(k.project, k.service.shared, 0, cfg.Log),
		Gone: gone, Grace: cfg.Grace, Reserve: cfg.Reserve, AllowShrink: allowShrink,
		Distrust:       k.wrong,
		Tolerate:       k.state.Inconsistent.Lasts(patienceInconsistent, leastInconsistent, time.Now()),
		TolerateFailed: k.state.Part.Lasts(patienceFailed, leastFailed, time.Now()),
		GiveUp:         k.state.Failures >= patiencePublish,
		Own:            mirror.OwnNames(k.own()),
		Now:            time.Now, Wait: mirror.Wait, Log: cfg.Log,
		Progress: func(status.Progress) {}, Fault: mirror.Faults(cfg.Cmdline, k.hangs),
	}
}

// hangs tells the console that a run stands still as a test ordered.
func (k *keeper) hangs(phase string) {
	daemon.Notice(k.service.cfg.Log, k.project.Name+": hanging in "+phase+" as ordered")
}

// own names the files of the tree that are the node's.
func (k *keeper) own() []string {
	var names []string
	host := k.service.cfg.Node.Hostname()
	for _, name := range []string{trace.Name(&k.project, host), trace.Mark(&k.project, host)} {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// begin and end put up and take down the mark of a running update, where the
// project knows one.
func (k *keeper) begin(job mirror.Job) {
	if err := trace.Begin(&k.project, job.Tree, job.Stage, k.service.cfg.Node.Hostname()); err != nil {
		k.service.cfg.Log.Warn(k.project.Name+": not marked as being updated", "err", err)
	}
}

func (k *keeper) end(job mirror.Job) {
	if err := trace.End(&k.project, job.Tree, k.service.cfg.Node.Hostname()); err != nil {
		k.service.cfg.Log.Warn(k.project.Name+": still marked as being updated", "err", err)
	}
}

// told writes the project's trace after a whole run and asks the tree its age.
func (k *keeper) told(r *mirror.Report) {
	cfg, s := &k.service.cfg, &k.state
	job := k.job(false)
	err := trace.Write(&k.project, job.Tree, job.Stage, trace.Run{
		Host: cfg.Node.Hostname(), Upstream: k.project.Upstream.Host, Started: s.LastStarted, Ended: s.LastEnded,
		Received: r.FetchedBytes, Creator: "micromirror",
	})
	if err != nil {
		cfg.Log.Warn(k.project.Name+": trace not written", "err", err)
	}
	f := k.project.Freshness
	if s.ContentTime, err = trace.Age(f, job.Tree); err != nil {
		cfg.Log.Warn(k.project.Name+": age is unknown", "err", err)
	}
	s.Stale = f.MaxAge > 0 && !s.ContentTime.IsZero() && s.LastEnded.Sub(s.ContentTime) > time.Duration(f.MaxAge)*time.Hour
	if s.Stale {
		cfg.Log.Warn(k.project.Name+": upstream is stale", "content_time", s.ContentTime, "max_age_hours", f.MaxAge)
	}
}

// After that many runs that have shown it, and that long, what upstream shows is
// taken for its lasting state: with the growing pauses files that it fails to send
// are waited for some minutes, indexes that do not fit together about five hours.
// Runs that failed for another reason say nothing, and pushes can make runs follow
// each other at once.
const (
	patienceFailed       = 5
	leastFailed          = 3 * time.Minute
	patienceInconsistent = 13
	leastInconsistent    = 4 * time.Hour
	// patiencePublish is for an interrupted publish that fails for a reason of
	// which it is not known whether it lasts; again about five hours.
	patiencePublish = 13
)

// sighted counts what a run that failed has shown. A worker's error is only text.
func (k *keeper) sighted(err error) {
	for reason, seen := range map[error]*status.Seen{mirror.ErrPart: &k.state.Part, verify.ErrInconsistent: &k.state.Inconsistent} {
		if strings.Contains(err.Error(), reason.Error()) {
			seen.Again(k.state.LastEnded)
		}
	}
}

// run does one run, keeps the state up to date, and returns the pause after it.
func (k *keeper) run(ctx context.Context, req request) time.Duration {
	cfg := &k.service.cfg
	k.state.Status = status.Syncing
	k.state.LastStarted, k.state.NextSchedule = time.Now(), time.Time{}
	k.save()
	meter := status.NewMeter(cfg.Run, k.project.Name, time.Now)
	job := k.job(req.allowShrink)
	var mu sync.Mutex // the transfer reports from a goroutine of its own
	job.Progress = func(p status.Progress) {
		mu.Lock()
		defer mu.Unlock()
		meter.Set(p)
		if phase, ok := strings.CutPrefix(p.Phase, worker.FaultPhase); ok {
			k.hangs(phase)
		}
	}
	job.Recovered = func(res publish.Result) { k.recovered(job, res) }
	k.begin(job)
	report, err := mirror.Run(ctx, job, k.fetch(req))
	meter.Done()
	k.end(job)
	k.finish(ctx, report, err)
	k.judge(job)
	pause := k.pause()
	k.state.NextSchedule = k.state.LastEnded.Add(pause)
	k.save() // the servers wait for it
	if k.check(ctx, err == nil) {
		k.judge(job)
		k.save()
	}
	return pause
}

// recovered notes that an interrupted publish is finished. Its tombstones are
// saved now: the rest of the run reads them and may publish nothing.
func (k *keeper) recovered(job mirror.Job, res publish.Result) {
	if res.Complete {
		k.keepGone(res.Gone)
		k.service.cfg.Log.Warn(k.project.Name + ": finished an interrupted publish")
	}
	k.judge(job)
	k.save()
}

// whole reports whether the tree is what some list made of it, not half of it.
func whole(job mirror.Job) bool { return !mirror.Pending(job) && !mirror.Torn(job) }

// fetch is the first half of the run: in a worker, if there is a command for it.
func (k *keeper) fetch(req request) func(context.Context, mirror.Job) (mirror.Outcome, error) {
	cfg := &k.service.cfg
	if len(cfg.Worker) == 0 {
		return cfg.Fetch
	}
	return func(ctx context.Context, j mirror.Job) (mirror.Outcome, error) {
		return worker.Fetch(ctx, cfg.Worker, k.task(j, req), j.Progress)
	}
}

// task tells a worker what the job says.
func (k *keeper) task(j mirror.Job, req request) worker.Task {
	cfg := &k.service.cfg
	return worker.Task{
		Name: k.project.Name, Project: k.project, Tree: j.Tree, Stage: j.Stage, GoneFile: k.goneFile(),
		Own: k.own(), Grace: cfg.Grace, Reserve: cfg.Reserve, AllowShrink: req.allowShrink, Tolerate: j.Tolerate, TolerateFailed: j.TolerateFailed,
		Distrust: j.Distrust, Rate: int64(cfg.Node.Node.SyncRate) / int64(cfg.Parallel),
		Cmdline: cfg.Cmdline,
	}
}

// finish notes how a run went.
func (k *keeper) finish(ctx context.Context, r mirror.Report, err error) {
	cfg, name, s := &k.service.cfg, k.project.Name, &k.state
	s.LastEnded = time.Now()
	if r.Published {
		s.LastChange = s.LastEnded
		k.keepGone(r.Gone)
		daemon.Notice(cfg.Log, name+": published", "files", r.Files, "deleted", r.Dropped, "fetched_bytes", r.FetchedBytes,
			"took", s.LastEnded.Sub(s.LastStarted).Round(time.Millisecond))
		if cfg.Published != nil {
			cfg.Published(name)
		}
	}
	switch {
	case err == nil:
		s.Status = status.Idle
		k.wrong = nil
		if r.Failed == nil {
			s.ErrorMsg, s.Failures, s.Part, s.Inconsistent = "", 0, status.Seen{}, status.Seen{}
		} else { // tolerated, and again tomorrow
			s.ErrorMsg = oneLine(fmt.Errorf("%w, published without: %w", mirror.ErrPart, r.Failed))
			cfg.Log.Warn(name+": incomplete", "err", s.ErrorMsg)
		}
		s.LastUpdate, s.Size, s.Files = r.Listed, r.Bytes, r.Outcome.Files
		k.told(&r)
		if !r.Published {
			daemon.Notice(cfg.Log, name+": up to date", "files", s.Files, "took", s.LastEnded.Sub(s.LastStarted).Round(time.Millisecond))
		}
	case ctx.Err() != nil: // told to stop: no fault of the project
		s.Status, s.ErrorMsg = status.Failed, "interrupted: "+context.Cause(ctx).Error()
	default:
		s.Status, s.ErrorMsg = status.Failed, oneLine(err)
		s.Failures++
		k.sighted(err)
		cfg.Log.Warn(name+": failed", "err", err, "failures", s.Failures)
	}
}

// longestReason bounds what is told of an error: upstream words part of it.
const longestReason = 500

// oneLine is an error for people, on consoles and pages, whoever has worded it.
func oneLine(err error) string {
	text := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(err.Error(), "?"))
	if len(text) > longestReason {
		text = strings.ToValidUTF8(text[:longestReason], "") + "…"
	}
	return text
}
