package service

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/project"
)

func TestTreesOfProjectsThatAreNotHostedGo(t *testing.T) {
	cfg := newConfig(t, nil, "demo", "free")
	nested := cfg.Node.Fleet.Projects["free"]
	nested.Path, nested.Module.Path = "fusion/free", "fusion"
	cfg.Node.Fleet.Projects["free"] = nested
	mirrortest.Make(t, cfg.Mirror, "demo/a: hosted", "fusion/free/b: hosted", "fusion/nonfree/c: not", "old/d: not", ".edition/demo@1/old/x: ours", ".health: ours")
	s := New(cfg)
	trees := func() []string {
		var out []string
		for name := range mirrortest.Describe(t, cfg.Mirror, false) {
			if info, err := os.Stat(filepath.Join(cfg.Mirror, name)); err == nil && info.Mode().IsRegular() {
				out = append(out, name)
			}
		}
		slices.Sort(out)
		return out
	}
	all := []string{".edition/demo@1/old/x", ".health", "demo/a", "fusion/free/b", "fusion/nonfree/c", "old/d"}
	kept := []string{".edition/demo@1/old/x", ".health", "demo/a", "fusion/free/b"}
	now := time.Now()
	for _, step := range []struct {
		name string
		at   time.Time
		want []string
	}{
		{"clock not set", time.Unix(1e6, 0), all},
		{"found", now, all},
		{"clock not set again", time.Unix(1e6, 0), all},
		{"within the grace time", now.Add(s.cfg.Keep - time.Minute), all},
		{"after it", now.Add(s.cfg.Keep), kept},
		{"later", now.Add(2 * s.cfg.Keep), kept},
	} {
		if err := s.unhosted(step.at); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, trees()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", step.name, diff)
		}
	}
	s.keepers = nil
	if err := s.unhosted(now.Add(9 * s.cfg.Keep)); err != nil || len(trees()) != len(kept) {
		t.Errorf("without a configuration: %v, trees %v", err, trees())
	}
}

// A project that comes back in time starts its grace time anew when it goes again.
func TestProjectThatComesBackKeepsItsTree(t *testing.T) {
	cfg := newConfig(t, nil, "demo")
	mirrortest.Make(t, cfg.Mirror, "old/d: x")
	with := cfg
	s := New(cfg)
	cfg.Node.Fleet.Projects["old"] = project.Complete("old", project.Project{})
	cfg.Node.Node.Projects = append(cfg.Node.Node.Projects, "old")
	hosting := New(with)
	now := time.Now()
	for _, step := range []struct {
		s  *Service
		at time.Duration
	}{{s, 0}, {hosting, s.cfg.Keep / 2}, {s, s.cfg.Keep + 1}, {s, 2 * s.cfg.Keep}} {
		if err := step.s.unhosted(now.Add(step.at)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(cfg.Mirror, "old/d")); err != nil {
			t.Fatalf("deleted after %v: %v", step.at, err)
		}
	}
	if err := s.unhosted(now.Add(2*s.cfg.Keep + 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Mirror, "old")); err == nil {
		t.Error("never deleted")
	}
}
