package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"micromirror/packages/mirror"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/status"
)

// interrupted is a service whose only project has a publish that something in
// the way has broken off.
type interrupted struct {
	t        *testing.T
	cfg      Config
	upstream *mirrortest.Upstream
	// after is called when a fetch is done, and may fail it.
	after func() error
}

// obstacle is in the way of the file pool/b.
const obstacle = "demo/pool/b"

func interrupt(t *testing.T) *interrupted {
	i := &interrupted{t: t, upstream: &mirrortest.Upstream{Dir: filepath.Join(mirrortest.TempDir(t), "upstream")}}
	i.cfg = newConfig(t, nil, "demo")
	i.cfg.Grace = 24 * time.Hour
	i.cfg.Fetch = i.fetch
	i.after = func() error { return nil }
	mirrortest.Make(t, i.upstream.Dir, "pool/a: a", "pool/c: c", "pool/d: d", "pool/e: e", "pool/old: old", "dists/x/InRelease: one")
	i.run(i.start(), true)
	mirrortest.Make(t, i.upstream.Dir, "pool/b: b", "-pool/old", "dists/x/InRelease: two")
	i.after = func() error { mirrortest.Make(t, i.cfg.Mirror, obstacle+"/in/the/way: x"); return nil }
	i.run(i.start(), false)
	return i
}

// fetch fetches from the upstream in this process.
func (i *interrupted) fetch(ctx context.Context, j mirror.Job) (mirror.Outcome, error) {
	j.Dial = func(context.Context) (mirror.Upstream, error) { return i.upstream, nil }
	out, err := mirror.Fetch(ctx, j)
	return out, errors.Join(err, i.after())
}

// start is the keeper of a service just started.
func (i *interrupted) start() *keeper {
	i.t.Helper()
	s := New(i.cfg)
	if err := s.recover(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
	return s.keepers["demo"]
}

// run does a run and checks what it tells the web server.
func (i *interrupted) run(k *keeper, serving bool) {
	i.t.Helper()
	k.run(i.t.Context(), request{})
	i.serving(serving)
}

func (i *interrupted) serving(want bool) {
	i.t.Helper()
	if s := status.Load(i.cfg.State, "demo"); s.Serving != want {
		i.t.Errorf("serving = %v, want %v; state %+v", s.Serving, want, s)
	}
}

func (i *interrupted) clear() {
	i.t.Helper()
	if err := os.RemoveAll(filepath.Join(i.cfg.Mirror, obstacle)); err != nil {
		i.t.Fatal(err)
	}
}

var errDown = errors.New("no route to host")

// A tree is served again as soon as it is whole, whether upstream is there or
// not, and what the interrupted publish found to have vanished is not forgotten.
func TestInterruptedPublishIsNotServed(t *testing.T) {
	finish := map[string]func(i *interrupted){
		"by the next run": func(i *interrupted) {
			s := New(i.cfg)
			k := s.keepers["demo"]
			k.load()
			i.clear()
			during := i.cfg.Fetch
			k.service.cfg.Fetch = func(ctx context.Context, j mirror.Job) (mirror.Outcome, error) {
				i.serving(true)
				return during(ctx, j)
			}
			i.run(k, true)
		},
		"by the next start": func(i *interrupted) {
			i.clear()
			k := i.start()
			i.serving(true)
			i.run(k, true)
		},
	}
	for name, do := range finish {
		t.Run(name, func(t *testing.T) {
			i := interrupt(t)
			i.after = func() error { return errDown }
			do(i)
			gone, err := plan.LoadGone(filepath.Join(i.cfg.State, "demo.gone"))
			if _, ok := gone["pool/old"]; !ok {
				t.Errorf("tombstones %v, %v", gone, err)
			}
		})
	}
}

// A state that was saved before the tree was whole again is put right.
func TestOldStateIsPutRight(t *testing.T) {
	i := interrupt(t)
	i.clear()
	i.start()
	s := status.Load(i.cfg.State, "demo")
	s.Serving = false
	if err := s.Save(i.cfg.State); err != nil {
		t.Fatal(err)
	}
	i.start()
	i.serving(true)
}

// A tree whose publish was given up is served again when a run has published
// all, not before, and not because the node was started again.
func TestGivenUpPublishIsNotServed(t *testing.T) {
	i := interrupt(t)
	i.after = func() error { return errDown }
	i.run(i.start(), false)
	k := i.start()
	i.serving(false)
	if mirror.Pending(k.job(false)) {
		t.Error("still pending")
	}
	i.run(k, false)
	i.after = func() error { return nil }
	i.run(k, true)
	if d := mirrortest.Describe(t, filepath.Join(i.cfg.Mirror, "demo"), false); d["pool/b"] == "" || d["pool/b/in"] != "" {
		t.Errorf("tree = %v", d)
	}
}
