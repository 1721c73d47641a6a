package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/project"
)

// TestCheckFindsWhatIsWrong damages files behind our back: size and time still
// agree, so only their bytes tell.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	damage := func(w *world, name string) {
		file := filepath.Join(w.job.Tree, name)
		info, err := os.Stat(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.Repeat("?", int(info.Size()))), 0o644)
		}
		if err == nil {
			err = os.Chtimes(file, info.ModTime(), info.ModTime())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		change func(w *world)
		want   Checked
	}{
		"all well":             {func(*world) {}, Checked{Compared: 2}},
		"rotten":               {func(w *world) { damage(w, "pool/a.deb") }, Checked{Compared: 2, Wrong: []string{"pool/a.deb"}}},
		"freshness file wrong": {func(w *world) { damage(w, "lastsync") }, Checked{Compared: 2, Wrong: []string{"lastsync"}}},
		"behind":               {func(w *world) { w.change("lastsync: 200") }, Checked{Compared: 1, Changed: 1, Behind: true}},
		"gone upstream":        {func(w *world) { w.change("-pool/a.deb") }, Checked{Compared: 1, Changed: 1}},
		"link instead":         {func(w *world) { w.change("pool/a.deb -> ../lastsync") }, Checked{Compared: 1, Changed: 1}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, _ := peerWorld(t, project.Project{Kind: "apt", Freshness: project.Freshness{File: "current", Kind: "epoch"}},
				"pool/a.deb: package a", "lastsync: 100", "current -> lastsync", "own/trace: x", "pool/w*ld?: not in a rule")
			w.mustRun()
			w.job.Gone = map[string]time.Time{"own": time.Now()}
			tt.change(w)
			got, err := Check(t.Context(), w.job, SampleDialer(w.job.Project, nil, 20*time.Second, w.job.Log))
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v, -want +got:\n%s", err, diff)
			}
			if _, err := os.Stat(filepath.Join(Staging(w.job.Stage), checkDir)); err == nil {
				t.Error("upstream's versions were left in the stage")
			}
			if len(got.Wrong) == 0 {
				return
			}
			w.job.Gone = nil
			if r := w.mustRun(); r.Published {
				t.Error("a run found by itself what only a check can find")
			}
			w.job.Distrust = got.Wrong
			w.mustRun()
			w.same()
		})
	}
}
