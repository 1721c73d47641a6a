package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/mirror"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
)

// TestRenamedProject gives the project of an interrupted publish another name
// before the node starts again: it is finished all the same, nothing half-made is
// served, and what vanished upstream stays for its grace period.
func TestRenamedProject(t *testing.T) {
	i := interrupt(t)
	i.after = func() error { return nil }
	p := project.Complete("other", project.Project{Path: "demo"})
	i.cfg.Node.Fleet.Projects = map[string]project.Project{"other": p}
	i.cfg.Node.Node.Projects = []string{"other"}
	s := New(i.cfg)
	s.inherit()
	k := s.keepers["other"]
	if !mirror.Pending(k.job(false)) {
		t.Fatal("the interrupted publish was lost")
	}
	i.clear()
	if err := s.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := status.Load(i.cfg.State, "other")
	gone, err := plan.LoadGone(filepath.Join(i.cfg.State, "other.gone"))
	if _, ok := gone["pool/old"]; !ok || !state.Serving || state.LastUpdate.IsZero() || k.first() != 0 {
		t.Errorf("state %+v, tombstones %v, %v", state, gone, err)
	}
	k.run(t.Context(), request{})
	if d := mirrortest.Describe(t, filepath.Join(i.cfg.Mirror, "demo"), false); d["pool/b"] == "" || d["pool/old"] == "" {
		t.Errorf("tree %v", d)
	}
	if _, err := os.Stat(filepath.Join(i.cfg.State, "demo.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the former name is still there: %v", err)
	}
}

// A project is no heir of one that is hosted, or was served elsewhere, and of
// several it takes the last.
func TestHeirs(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for name, tt := range map[string]struct {
		former []status.State
		want   time.Time
	}{
		"nothing":   {nil, time.Time{}},
		"elsewhere": {[]status.State{{Name: "old", Path: "other", LastUpdate: now}}, time.Time{}},
		"hosted":    {[]status.State{{Name: "hosted", Path: "demo", LastUpdate: now}}, time.Time{}},
		"its own":   {[]status.State{{Name: "demo", Path: "demo"}, {Name: "old", Path: "demo", LastUpdate: now}}, time.Time{}},
		"the last": {[]status.State{{Name: "a", Path: "demo", LastUpdate: now.Add(-time.Hour), LastEnded: now.Add(-time.Hour)},
			{Name: "b", Path: "demo", LastUpdate: now, LastEnded: now}, {Name: "c", Path: "demo"}}, now},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newConfig(t, nil, "demo", "hosted")
			for _, s := range tt.former {
				if err := s.Save(cfg.State); err != nil {
					t.Fatal(err)
				}
			}
			New(cfg).inherit()
			if got := status.Load(cfg.State, "demo").LastUpdate; !got.Equal(tt.want) {
				t.Errorf("last update %v, want %v", got, tt.want)
			}
		})
	}
}

// A project that is to be served elsewhere is not fresh there.
func TestProjectAtAnotherPath(t *testing.T) {
	cfg := newConfig(t, nil, "demo")
	now := time.Now().Truncate(time.Second)
	for path, want := range map[string]time.Time{"demo": now, "linux/demo": {}} {
		s := status.State{Name: "demo", Status: status.Idle, Path: path, LastUpdate: now, NextSchedule: now.Add(time.Hour), Serving: true}
		if err := s.Save(cfg.State); err != nil {
			t.Fatal(err)
		}
		k := New(cfg).keepers["demo"]
		k.load()
		if due := k.first() == 0; !k.state.LastUpdate.Equal(want) || due != want.IsZero() || k.state.Path != "demo" {
			t.Errorf("state from %s: %+v, due %v", path, k.state, due)
		}
	}
}

// What is left to do of a publish outlives a configuration without the project, as
// long as the tree does.
func TestUnfinishedPublishOfAProjectThatIsNotHosted(t *testing.T) {
	i := interrupt(t)
	without := i.cfg
	node := *without.Node
	node.Fleet.Projects = map[string]project.Project{"other": project.Complete("other", project.Project{})}
	node.Node.Projects = []string{"other"}
	without.Node = &node
	New(without).forget()
	if k := New(i.cfg).keepers["demo"]; !mirror.Pending(k.job(false)) {
		t.Error("the interrupted publish was forgotten")
	}
	if err := os.RemoveAll(filepath.Join(i.cfg.Mirror, "demo")); err != nil {
		t.Fatal(err)
	}
	New(without).forget()
	if _, err := os.Stat(filepath.Join(i.cfg.Stage, "demo")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the stage of a tree that is gone: %v", err)
	}
}

// TestSpoiltStates starts with states that a broken disk may leave: the projects
// are synchronised anew.
func TestSpoiltStates(t *testing.T) {
	for name, text := range map[string]string{
		"of no bytes": "", "cut short": `{"name":"demo","sta`, "of another project": `{"name":"other","status":"idle"}`,
		"no object": `[1,2]`, "wrong types": `{"name":"demo","status":7,"serving":"no"}`,
		"from the future": `{"name":"demo","status":"idle","serving":true,"last_update":"2999-01-01T00:00:00Z","next_schedule":"2999-01-02T00:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := newConfig(t, nil, "demo")
			for _, file := range []string{"demo.json", "demo.gone", unhostedFile} {
				if err := os.WriteFile(filepath.Join(cfg.State, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			upstream := &mirrortest.Upstream{Dir: filepath.Join(mirrortest.TempDir(t), "upstream")}
			mirrortest.Make(t, upstream.Dir, "pool/a: a", "dists/x/InRelease: one")
			i := &interrupted{t: t, cfg: cfg, upstream: upstream, after: func() error { return nil }}
			i.cfg.Fetch = i.fetch
			s := New(i.cfg)
			s.inherit()
			if err := errors.Join(s.recover(t.Context()), s.unhosted(time.Now())); err != nil {
				t.Fatal(err)
			}
			s.forget()
			k := s.keepers["demo"]
			if pause := k.first(); pause > i.cfg.Interval {
				t.Errorf("first run in %v", pause)
			}
			i.run(k, true)
			if s := status.Load(cfg.State, "demo"); s.Status != status.Idle || s.Files != 2 || time.Until(s.LastUpdate) > 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

// A run goes well although nothing can be written down of it.
func TestStateCannotBeWritten(t *testing.T) {
	i := interrupt(t)
	i.after = func() error { return nil }
	i.clear()
	if err := os.RemoveAll(i.cfg.State); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(i.cfg.State, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k := i.start()
	k.run(t.Context(), request{})
	if d := mirrortest.Describe(t, filepath.Join(i.cfg.Mirror, "demo"), false); d["pool/b"] == "" || !k.state.Serving {
		t.Errorf("tree %v, state %+v", d, k.state)
	}
}

func TestOneLine(t *testing.T) {
	for said, want := range map[string]string{
		"list refused": "list refused", "two\r\nlines\tand a tab": "two  lines and a tab", "\x1b[2J bell\a": "?[2J bell?",
		"\xff": "?", "naïve": "naïve", strings.Repeat("é", 400): strings.Repeat("é", 250) + "…",
	} {
		if got := oneLine(errors.New(said)); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", said, got, want)
		}
	}
}
