package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"micromirror/packages/mirror"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
)

func TestVerdict(t *testing.T) {
	now := time.Now()
	ago := func(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }
	rule := project.Rule{StaleHours: 72, WrongFiles: 2}
	for name, tt := range map[string]struct {
		rule  project.Rule
		state status.State
		want  string
	}{
		"fresh":            {rule, status.State{LastUpdate: ago(20)}, ""},
		"never synced":     {rule, status.State{}, ""},
		"no rule":          {project.Rule{}, status.State{LastUpdate: ago(1000), WrongFiles: 9}, ""},
		"old":              {rule, status.State{LastUpdate: ago(73)}, "no whole run for more than 72 hours"},
		"behind a little":  {rule, status.State{LastUpdate: ago(1), BehindSince: ago(10)}, ""},
		"behind upstream":  {rule, status.State{LastUpdate: ago(1), BehindSince: ago(80)}, "behind upstream for more than 72 hours"},
		"one file wrong":   {rule, status.State{LastUpdate: ago(1), WrongFiles: 1, CheckedFiles: 16}, ""},
		"many files wrong": {rule, status.State{LastUpdate: ago(1), WrongFiles: 3, CheckedFiles: 16}, "3 of 16 files compared differ from upstream"},
	} {
		k := keeper{project: project.Project{OutOfService: tt.rule}, state: tt.state}
		if got := k.verdict(now); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestWrongFilesAreMended lets a check find files that are not upstream's: the
// project goes out of service, a run fetches the files, and the next check brings
// it back.
func TestWrongFilesAreMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var distrusted []string
		checks := 0
		cfg := newConfig(t, nil, "demo")
		p := cfg.Node.Fleet.Projects["demo"]
		p.OutOfService.WrongFiles = 2
		cfg.Node.Fleet.Projects["demo"] = p
		seen := make(chan status.State, 10)
		cfg.Fetch = func(_ context.Context, j mirror.Job) (mirror.Outcome, error) {
			distrusted = j.Distrust
			seen <- status.Load(cfg.State, "demo")
			time.Sleep(time.Minute)
			return mirror.Outcome{Listed: time.Now(), Complete: true}, nil
		}
		cfg.Check = func(context.Context, mirror.Job) (mirror.Checked, error) {
			if checks++; checks == 1 {
				return mirror.Checked{Compared: 9, Wrong: []string{"pool/a", "pool/b"}}, nil
			}
			return mirror.Checked{Compared: 9, Changed: 1, Behind: true}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		runLoops(ctx, New(cfg))
		time.Sleep(time.Hour)
		synctest.Wait()
		<-seen
		if s := <-seen; s.Serving || !strings.Contains(s.OutOfService, "2 of 9") || s.WrongFiles != 2 || s.WrongFile != "pool/a" {
			t.Errorf("during the run that mends: %+v", s)
		}
		if !slices.Equal(distrusted, []string{"pool/a", "pool/b"}) || len(seen) != 0 {
			t.Errorf("distrusted %v, %d more runs", distrusted, len(seen))
		}
		s := status.Load(cfg.State, "demo")
		if !s.Serving || s.OutOfService != "" || s.WrongFiles != 0 || s.BehindSince.IsZero() || s.CheckedFiles != 9 {
			t.Errorf("after it: %+v", s)
		}
		cancel()
		synctest.Wait()
	})
}

// Checks go on once a day although every run fails.
func TestChecksGoOnWhileRunsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checks := 0
		cfg := newConfig(t, func(context.Context, string) (mirror.Outcome, error) {
			return mirror.Outcome{}, errors.New("list refused")
		}, "demo")
		cfg.Check = func(context.Context, mirror.Job) (mirror.Checked, error) {
			checks++
			return mirror.Checked{}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		runLoops(ctx, New(cfg))
		time.Sleep(100 * time.Hour)
		cancel()
		synctest.Wait()
		if checks < 4 || checks > 5 {
			t.Errorf("%d checks in a hundred hours", checks)
		}
	})
}

// TestUpdateIsMarked looks for the mark of Debian's kind during a run, after it,
// and after one that was cut off.
func TestUpdateIsMarked(t *testing.T) {
	cfg := newConfig(t, nil, "demo")
	p := cfg.Node.Fleet.Projects["demo"]
	p.Trace = project.Trace{File: "project/trace/{host}", Format: "debian"}
	cfg.Node.Fleet.Projects["demo"] = p
	upstream := &mirrortest.Upstream{Dir: filepath.Join(mirrortest.TempDir(t), "upstream")}
	mirrortest.Make(t, upstream.Dir, "pool/a: a", "dists/x/InRelease: one")
	mark := filepath.Join(cfg.Mirror, "demo/Archive-Update-in-Progress-localhost")
	marked := func() bool {
		_, err := os.Stat(mark)
		return err == nil
	}
	runs := 0
	cfg.Fetch = func(ctx context.Context, j mirror.Job) (mirror.Outcome, error) {
		if runs++; runs > 1 && !marked() {
			t.Error("no mark during a run")
		}
		j.Dial = func(context.Context) (mirror.Upstream, error) { return upstream, nil }
		return mirror.Fetch(ctx, j)
	}
	for range 3 {
		k := New(cfg).keepers["demo"]
		k.load()
		k.run(t.Context(), request{})
		if marked() {
			t.Error("still marked after the run")
		}
		if s := status.Load(cfg.State, "demo"); s.Status != status.Idle {
			t.Errorf("state %+v", s)
		}
	}
	want := mirrortest.Describe(t, upstream.Dir, true)
	got := mirrortest.Describe(t, filepath.Join(cfg.Mirror, "demo"), true)
	if got["."] != want["."] {
		t.Errorf("the mark changed the root: %s, want %s", got["."], want["."])
	}
	mirrortest.Make(t, filepath.Dir(mark), filepath.Base(mark)+": left by a power cut")
	if err := New(cfg).recover(t.Context()); err != nil || marked() {
		t.Errorf("the mark outlived a start, %v", err)
	}
}
