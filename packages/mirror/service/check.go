package service

import (
	"context"
	"fmt"
	"time"

	"micromirror/packages/mirror"
	"micromirror/packages/mirror/worker"
)

// checkInterval is how old a check may be although every run fails.
const checkInterval = 24 * time.Hour

// checkLimit bounds the time that a check takes.
const checkLimit = 10 * time.Minute

// check compares a sample of the tree with upstream, after a whole run and when
// the last check is old, and says whether it has. That it cannot is no fault of
// the project: the next run will tell.
func (k *keeper) check(ctx context.Context, whole bool) bool {
	cfg, s := &k.service.cfg, &k.state
	// A check in the future was made by a clock that has been put right since.
	recent := s.LastCheck.After(time.Now().Add(-checkInterval)) && !s.LastCheck.After(time.Now())
	if ctx.Err() != nil || !whole && recent {
		return false
	}
	check := k.checker()
	if check == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	found, err := check(ctx, k.job(false))
	if err != nil {
		cfg.Log.Info(k.project.Name+": not compared with upstream", "err", err)
		return false
	}
	k.note(found)
	return true
}

// note keeps what a check has found.
func (k *keeper) note(found mirror.Checked) {
	cfg, s := &k.service.cfg, &k.state
	now := time.Now()
	s.LastCheck, s.CheckedFiles, s.WrongFiles, s.WrongFile = now, found.Compared, len(found.Wrong), ""
	switch {
	case !found.Behind:
		s.BehindSince = time.Time{}
	case s.BehindSince.IsZero():
		s.BehindSince = now
	}
	k.wrong = found.Wrong
	if len(found.Wrong) == 0 {
		return
	}
	s.WrongFile = found.Wrong[0]
	cfg.Log.Error(k.project.Name+": files differ from upstream", "files", len(found.Wrong), "of", found.Compared, "such_as", s.WrongFile)
	if err := k.service.Trigger(k.project.Name, false); err != nil { // the run that mends them
		cfg.Log.Error("mending files", "err", err)
	}
}

// checker is what does a check: a worker, if there is a command for it.
func (k *keeper) checker() func(context.Context, mirror.Job) (mirror.Checked, error) {
	cfg := &k.service.cfg
	if len(cfg.Worker) == 0 {
		return cfg.Check
	}
	return func(ctx context.Context, j mirror.Job) (mirror.Checked, error) {
		return worker.Check(ctx, cfg.Worker, k.task(j, request{}))
	}
}

// judge decides whether the project is served.
func (k *keeper) judge(job mirror.Job) {
	s := &k.state
	was := s.OutOfService
	s.OutOfService = k.verdict(time.Now())
	s.Serving = whole(job) && s.OutOfService == ""
	if s.OutOfService != "" && was == "" {
		k.service.cfg.Log.Error(k.project.Name+": out of service", "reason", s.OutOfService)
	}
}

// verdict is the reason of the project's rule to take it out of service, if any.
func (k *keeper) verdict(now time.Time) string {
	rule, s := k.project.OutOfService, &k.state
	if rule.WrongFiles > 0 && s.WrongFiles >= rule.WrongFiles {
		return fmt.Sprintf("%d of %d files compared differ from upstream", s.WrongFiles, s.CheckedFiles)
	}
	limit := time.Duration(rule.StaleHours) * time.Hour
	if limit == 0 {
		return ""
	}
	for since, what := range map[time.Time]string{s.LastUpdate: "no whole run", s.BehindSince: "behind upstream"} {
		if !since.IsZero() && now.Sub(since) > limit {
			return fmt.Sprintf("%s for more than %d hours", what, rule.StaleHours)
		}
	}
	return ""
}
