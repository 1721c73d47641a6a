package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/mirror/verify"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

// newConfig is a node with the projects named, whose fetches go to fetch.
func newConfig(t *testing.T, fetch func(ctx context.Context, project string) (mirror.Outcome, error), names ...string) Config {
	t.Helper()
	dir := mirrortest.TempDir(t)
	n := &node.Config{Fleet: node.Fleet{Upstream: "192.0.2.1", Projects: map[string]project.Project{}}}
	for i, name := range names {
		n.Fleet.Projects[name] = project.Complete(name, project.Project{Size: project.Size(i)})
		n.Node.Projects = append(n.Node.Projects, name)
	}
	cfg := Config{Node: n, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Interval: 24 * time.Hour}
	for sub, dst := range map[string]*string{"mirror": &cfg.Mirror, "stage": &cfg.Stage, "state": &cfg.State, "run": &cfg.Run} {
		*dst = filepath.Join(dir, sub)
		mirrortest.Make(t, dir, sub+"/")
	}
	cfg.Fetch = func(ctx context.Context, j mirror.Job) (mirror.Outcome, error) { return fetch(ctx, j.Project.Name) }
	return cfg
}

// runLoops starts the projects' loops without the socket, which needs a real
// network.
func runLoops(ctx context.Context, s *Service) {
	for _, name := range s.order() {
		s.keepers[name].load()
		go s.keepers[name].start(ctx)()
	}
}

func TestDailyRunAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var fail error
		var runs []time.Duration
		start := time.Now()
		cfg := newConfig(t, func(context.Context, string) (mirror.Outcome, error) {
			mu.Lock()
			defer mu.Unlock()
			runs = append(runs, time.Since(start))
			return mirror.Outcome{Listed: time.Now(), Complete: true, Files: 3, Bytes: 7}, fail
		}, "demo")
		ctx, cancel := context.WithCancel(t.Context())
		runLoops(ctx, New(cfg))
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if len(runs) != 2 || runs[0] != 0 || runs[1] < 18*time.Hour || runs[1] > 24*time.Hour {
			t.Errorf("runs at %v, want one at once and one within a day", runs)
		}
		if s := status.Load(cfg.State, "demo"); s.Status != status.Idle || s.Files != 3 || s.Size != 7 || s.NextSchedule.IsZero() || !s.Serving {
			t.Errorf("state = %+v", s)
		}
		mu.Lock()
		fail, runs = errors.New("no route to host"), nil
		mu.Unlock()
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if n := len(runs); n < 30 || n > 80 {
			t.Errorf("%d runs in two days of failure, want about one an hour", n)
		}
		if first := runs[1] - runs[0]; first > 2*time.Minute {
			t.Errorf("second try after %v", first)
		}
		if s := status.Load(cfg.State, "demo"); s.Status != status.Failed || s.ErrorMsg != "no route to host" || !s.Serving || s.Failures < 30 {
			t.Errorf("state = %+v", s)
		}
		cancel()
		synctest.Wait()
	})
}

// A file that upstream can never send must not keep a mirror from its indexes for
// ever.
func TestLastingFailureIsTolerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tolerated []bool
		cfg := newConfig(t, nil, "demo")
		cfg.Fetch = func(_ context.Context, j mirror.Job) (mirror.Outcome, error) {
			tolerated = append(tolerated, j.TolerateFailed)
			return mirror.Outcome{Listed: time.Now(), Complete: j.TolerateFailed, Failed: errors.New("permission denied")}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		runLoops(ctx, New(cfg))
		time.Sleep(23 * time.Hour)
		cancel()
		synctest.Wait()
		want := []bool{false, false, false, false, false, true}
		if n := len(tolerated); n < 6 || n > 7 || !slices.Equal(tolerated[:6], want) || !tolerated[n-1] {
			t.Errorf("tolerated %v, want %v and then a day's pause", tolerated, want)
		}
		if s := status.Load(cfg.State, "demo"); s.Status != status.Idle || !strings.Contains(s.ErrorMsg, "permission denied") {
			t.Errorf("state = %+v", s)
		}
	})
}

// What upstream shows once, after runs that failed for another reason, or many times
// within a minute, does not last.
func TestPassingInconsistencyIsNotTolerated(t *testing.T) {
	for name, c := range map[string]struct {
		fails  func(run int) error
		pushes int
	}{
		"after an outage": {func(run int) error {
			if run <= 20 {
				return errors.New("no route to host")
			}
			return verify.ErrInconsistent
		}, 0},
		"pushed again and again": {func(int) error { return verify.ErrInconsistent }, 40},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				runs, seen, over := 0, 0, false
				var at time.Time // since when it is seen
				cfg := newConfig(t, nil, "demo")
				cfg.Fetch = func(_ context.Context, j mirror.Job) (mirror.Outcome, error) {
					if lasts := seen >= patienceInconsistent && time.Since(at) >= leastInconsistent; j.Tolerate && !lasts {
						t.Errorf("tolerated in run %d, after it was seen %d times in %s", runs+1, seen, time.Since(at))
					}
					if over = over || j.Tolerate; over {
						return mirror.Outcome{Listed: time.Now(), Complete: true}, nil
					}
					runs++
					err := c.fails(runs)
					if errors.Is(err, verify.ErrInconsistent) {
						if seen++; seen == 1 {
							at = time.Now()
						}
					}
					return mirror.Outcome{Listed: time.Now(), Failed: err}, nil
				}
				ctx, cancel := context.WithCancel(t.Context())
				s := New(cfg)
				runLoops(ctx, s)
				for range c.pushes {
					time.Sleep(time.Second)
					if err := s.Trigger("demo", false); err != nil {
						t.Error(err)
					}
				}
				time.Sleep(48 * time.Hour)
				cancel()
				synctest.Wait()
				if s := status.Load(cfg.State, "demo"); s.Status != status.Idle || s.Inconsistent.Runs != 0 {
					t.Errorf("state = %+v", s)
				}
			})
		})
	}
}

func TestTriggersDuringARunCauseOneMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		cfg := newConfig(t, func(context.Context, string) (mirror.Outcome, error) {
			runs++
			time.Sleep(time.Minute)
			return mirror.Outcome{Listed: time.Now(), Complete: true}, nil
		}, "demo")
		ctx, cancel := context.WithCancel(t.Context())
		s := New(cfg)
		runLoops(ctx, s)
		time.Sleep(30 * time.Second)
		for range 5 {
			if err := s.Trigger("demo", false); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if runs != 2 {
			t.Errorf("%d runs, want 2", runs)
		}
		if err := s.Trigger("other", false); err == nil {
			t.Error("unknown project accepted")
		}
		cancel()
		synctest.Wait()
	})
}

// The order to delete more than usual counts for one run, also when pushes come
// before and after it.
func TestOrderToShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var allowed []bool
		cfg := newConfig(t, nil, "demo")
		cfg.Fetch = func(_ context.Context, j mirror.Job) (mirror.Outcome, error) {
			allowed = append(allowed, j.AllowShrink)
			time.Sleep(time.Minute)
			return mirror.Outcome{Listed: time.Now(), Complete: true}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := New(cfg)
		runLoops(ctx, s)
		time.Sleep(30 * time.Second)
		for _, shrink := range []bool{false, true, false} {
			if err := s.Trigger("demo", shrink); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(10 * time.Minute)
		if err := s.Trigger("demo", false); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute)
		cancel()
		synctest.Wait()
		if diff := cmp.Diff([]bool{false, true, false}, allowed); diff != "" {
			t.Errorf("runs that may shrink, -want +got\n%s", diff)
		}
	})
}

func TestLargeProjectDoesNotDelayOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		done := map[string]time.Duration{}
		start := time.Now()
		cfg := newConfig(t, func(_ context.Context, name string) (mirror.Outcome, error) {
			if name == "large" {
				time.Sleep(time.Hour)
			}
			time.Sleep(time.Minute)
			mu.Lock()
			defer mu.Unlock()
			done[name] = time.Since(start)
			return mirror.Outcome{Listed: time.Now(), Complete: true}, nil
		}, "one", "two", "three", "large")
		ctx, cancel := context.WithCancel(t.Context())
		runLoops(ctx, New(cfg))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for _, name := range []string{"one", "two", "three"} {
			if done[name] == 0 || done[name] > 5*time.Minute {
				t.Errorf("%s done after %v", name, done[name])
			}
		}
		cancel()
		synctest.Wait()
	})
}

func TestSmallProjectsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		cfg := newConfig(t, func(_ context.Context, name string) (mirror.Outcome, error) {
			order = append(order, name)
			time.Sleep(time.Minute)
			return mirror.Outcome{Listed: time.Now(), Complete: true}, nil
		}, "one", "two", "three", "four")
		cfg.Parallel = 1
		ctx, cancel := context.WithCancel(t.Context())
		runLoops(ctx, New(cfg))
		time.Sleep(time.Hour)
		cancel()
		synctest.Wait()
		if want := []string{"one", "two", "three", "four"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
	})
}

func TestShutdownIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := newConfig(t, func(ctx context.Context, _ string) (mirror.Outcome, error) {
			<-ctx.Done()
			return mirror.Outcome{}, context.Cause(ctx)
		}, "demo")
		ctx, cancel := context.WithCancelCause(t.Context())
		runLoops(ctx, New(cfg))
		synctest.Wait()
		if s := status.Load(cfg.State, "demo"); s.Status != status.Syncing {
			t.Errorf("state during the run = %+v", s)
		}
		cancel(errors.New("received signal terminated"))
		synctest.Wait()
		if s := status.Load(cfg.State, "demo"); s.Failures != 0 || s.ErrorMsg != "interrupted: received signal terminated" {
			t.Errorf("state = %+v", s)
		}
	})
}

// TestWholeService runs everything together against rsync's own daemon: a
// publish that was cut off is finished, stale stages go, triggers come over the
// socket, and upstream may go away.
func TestWholeService(t *testing.T) {
	upstream := mirrortest.TempDir(t)
	mirrortest.Make(t, upstream, "pool/a: a", "dists/x/InRelease: one")
	peer := mirrortest.StartPeer(t, upstream)
	cfg := newConfig(t, nil, "demo")
	cfg.Fetch = mirror.Fetch
	p := cfg.Node.Fleet.Projects["demo"]
	p.Upstream.Host, p.Upstream.Module = peer.Addr, "m"
	p.Trace = project.Trace{File: "project/trace/{host}", Format: "date"}
	p.Freshness = project.Freshness{File: "dists/x/InRelease", Kind: "mtime", MaxAge: 1}
	cfg.Node.Fleet.Projects["demo"] = p
	published := make(chan string, 10)
	cfg.Published = func(name string) { published <- name }
	mirrortest.Make(t, cfg.Stage, "gone/new/x: stale")

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(cfg).Run(ctx) }()
	wait := func() {
		t.Helper()
		select {
		case <-published:
		case err := <-ended:
			t.Fatalf("service ended: %v", err)
		case <-time.After(30 * time.Second):
			t.Fatal("nothing was published")
		}
	}
	wait()
	mirrortest.Make(t, upstream, "pool/b: b", "dists/x/InRelease: two")
	if got := trigger(t, cfg.Run, "demo"); got != "ok" {
		t.Errorf("trigger answered %q", got)
	}
	wait()
	poll(t, "trace and age", func() bool {
		_, err := os.Stat(filepath.Join(cfg.Mirror, "demo/project/trace/localhost"))
		s := status.Load(cfg.State, "demo")
		return err == nil && s.Status == status.Idle && s.Stale && !s.ContentTime.IsZero()
	})
	trigger(t, cfg.Run, "demo")
	changed := status.Load(cfg.State, "demo").LastChange
	last := status.Load(cfg.State, "demo").LastUpdate
	poll(t, "a run without changes", func() bool { return status.Load(cfg.State, "demo").LastUpdate.After(last) })
	if s := status.Load(cfg.State, "demo"); !s.LastChange.Equal(changed) {
		t.Error("our own trace file counts as a change")
	}
	if got := trigger(t, cfg.Run, "nosuch"); got != `project "nosuch" is not hosted here` {
		t.Errorf("trigger answered %q", got)
	}
	if d := mirrortest.Describe(t, filepath.Join(cfg.Mirror, "demo"), false); d["pool/b"] == "" {
		t.Errorf("tree = %v", d)
	}
	if d := mirrortest.Describe(t, cfg.Stage, false); d["gone"] != "" {
		t.Error("stage of a project that is not hosted is still there")
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("service does not end")
	}
}

func trigger(t *testing.T, dir, line string) string {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, TriggerSocket))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, line)
	answer := bufio.NewScanner(c)
	answer.Scan()
	return answer.Text()
}

// poll waits until something has come true.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("no %s", what)
		case <-tick.C:
		}
	}
}
