package status

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 1, 3, 12, 0, 0, 0, time.UTC)

func reader(t *testing.T, files map[string]string) *Reader {
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Reader{
		Node: "n", StateDir: dir, ProgressDir: dir, Now: func() time.Time { return now }, Served: func(string) int64 { return 10 },
		Hosted: []Hosted{{Name: "debian", Title: "Debian", Path: "debian", MaxAge: 24 * time.Hour}},
	}
}

func TestRead(t *testing.T) {
	last := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  Project
		bad   bool
	}{
		{"nothing yet", nil, Project{Status: "never", Serving: true, Freshness: "unknown"}, false},
		{"idle", map[string]string{
			"debian.json":          `{"name":"other","path":"../..","status":"idle","serving":true,"last_update":"2026-01-03T00:00:00Z","size":5,"files":2}`,
			"debian.progress.json": `{"phase":"fetch"}`,
		}, Project{Status: "idle", Serving: true, Freshness: "fresh", LastUpdate: last, Size: 5, Files: 2}, false},
		{"syncing", map[string]string{
			"debian.json":          `{"status":"syncing","serving":true}`,
			"debian.progress.json": `{"phase":"fetch","bytes_done":1,"bytes_total":2,"bytes_per_second":1.5}`,
		}, Project{Status: "syncing", Serving: true, Freshness: "unknown", Progress: &Progress{Phase: "fetch", BytesDone: 1, BytesTotal: 2, BytesPerSecond: 1.5}}, false},
		{"stale and not serving", map[string]string{
			"debian.json": `{"status":"failed","serving":false,"last_update":"2026-01-02T00:00:00Z","error_msg":"refused"}`,
		}, Project{Status: "failed", Freshness: "stale", LastUpdate: last.Add(-24 * time.Hour), Error: "refused"}, false},
		{"torn progress", map[string]string{
			"debian.json":          `{"status":"syncing","serving":true}`,
			"debian.progress.json": `{"pha`,
		}, Project{Status: "syncing", Serving: true, Freshness: "unknown"}, true},
		{"torn state", map[string]string{"debian.json": `{"status":`}, Project{Status: "never", Serving: true, Freshness: "unknown"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.want.Name, test.want.Title, test.want.Path, test.want.URL = "debian", "Debian", "debian", "/debian/"
			test.want.ServedDay = 10
			if test.want.Size > 0 {
				test.want.Efficiency = 2
			}
			got, err := reader(t, test.files).Read(nil)
			if (err != nil) != test.bad {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff([]Project{test.want}, got.Projects); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestUnreadableStateStaysAsItWas(t *testing.T) {
	r := reader(t, map[string]string{"debian.json": `{"status":"idle","serving":false,"size":7}`})
	before, err := r.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.StateDir, "debian.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	after, err := r.Read(&before)
	if err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestOf(t *testing.T) {
	w := NewWatch(reader(t, nil), slog.New(slog.DiscardHandler))
	for name, want := range map[string]bool{"debian": true, "debian/x": true, "debian-cd/x": false, ".": false, "debia": false} {
		if got := w.Report().Of(name); (got != nil) != want {
			t.Errorf("Of(%q) = %v", name, got)
		}
	}
}
