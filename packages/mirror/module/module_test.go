package module

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/status"
	"micromirror/packages/node"
)

func TestModules(t *testing.T) {
	config, problems, err := node.ReadNode("../../node/reference")
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	root := t.TempDir()
	got := map[string]string{}
	for _, m := range List(config, root, t.TempDir()) {
		got[m.Name] = m.Path
		if m.Comment == "" || len(m.Exclude) == 0 || m.Hidden || m.Unreadable {
			t.Errorf("module %+v", m)
		}
	}
	want := map[string]string{}
	for _, p := range config.Projects() {
		want[p.Module.Name] = filepath.Join(root, p.Module.Path)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("modules (-want +got):\n%s", diff)
	}
}

// A publish makes a new generation, a run that publishes nothing does not.
func TestGeneration(t *testing.T) {
	states := t.TempDir()
	path := filepath.Join(t.TempDir(), "debian")
	generation := generation(path, states, []string{"debian"})
	if _, err := generation(); !os.IsNotExist(err) {
		t.Errorf("generation of a missing tree: %v, want that it does not exist", err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	next := func(s status.State) string {
		t.Helper()
		if err := s.Save(states); err != nil {
			t.Fatal(err)
		}
		g, err := generation()
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	s := status.State{Name: "debian", Status: status.Idle, Serving: true}
	first := next(s)
	s.Status, s.LastStarted = status.Syncing, time.Unix(1, 0)
	if next(s) != first {
		t.Error("a run that has published nothing made a new generation")
	}
	s.LastChange = time.Unix(2, 0)
	if next(s) == first {
		t.Error("a publish made no new generation")
	}
	s.Serving = false
	if err := s.Save(states); err != nil {
		t.Fatal(err)
	}
	if g, err := generation(); err == nil {
		t.Errorf("a tree that is not served has generation %s", g)
	}
}
