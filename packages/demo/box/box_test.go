package box

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/desk"
	"micromirror/packages/vm"
)

func TestFleetTakesPortAndProjects(t *testing.T) {
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ projects, want []string }{
		{nil, []string{"demo-debian", "demo-rpm", "demo-files"}},
		{[]string{"demo-rpm"}, []string{"demo-rpm"}},
	} {
		dir := filepath.Join(t.TempDir(), "fleet")
		if err := writeFleet(filepath.Join(filepath.Dir(build), "images", "demo"), dir, 4711, c.projects); err != nil {
			t.Fatal(err)
		}
		cfg, err := desk.Fleet(dir).Read("demo")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range cfg.Projects() {
			got = append(got, p.Name)
			if p.Upstream.Host != "10.0.2.2:4711" {
				t.Errorf("%s comes from %s", p.Name, p.Upstream.Host)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("projects (-want +got):\n%s", diff)
		}
	}
}
