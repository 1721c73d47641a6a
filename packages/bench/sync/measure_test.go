package sync

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/bench"
)

// What an interrupted run has finished is in the table and not measured again.
func TestMeasureGoesOn(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	print, err := bench.Fingerprint(self)
	if err != nil {
		t.Fatal(err)
	}
	p, err := bench.Resume[Row](filepath.Join(dir, "sync-0.5.progress.json"), "program "+print+", scale 0.5, 3 rounds")
	if err != nil {
		t.Fatal(err)
	}
	one := Figures{Wall: time.Second, CPU: time.Second, RSS: 1024}
	for _, r := range []Row{{"client", "a", "old", one, one, 0}, {"daemon", "f", "crowd", one, one, 0}} {
		if err := p.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	var said []string
	var table bytes.Buffer
	o := Options{Scenarios: "af", Sides: "client", Scale: 0.5, Rounds: 3, Report: func(line string) { said = append(said, line) }}
	if err := Measure(t.Context(), o, self, dir, &table); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"client a was measured earlier"}, said); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	for _, want := range []string{"client (a) old, CPU", "daemon (f) crowd, memory"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, table.String())
		}
	}
}

func TestTable(t *testing.T) {
	f := Figures{Wall: 2 * time.Second, CPU: time.Second, RSS: 100 << 10}
	g := Figures{Wall: time.Second, CPU: time.Second, RSS: 64 << 10}
	got := Table([]Row{{"client", "c", "n", f, g, 0}, {"daemon", "f", "n", f, g, 0}, {"run", "h", "n", f, g, 0}, {"run", "g", "n", f, g, time.Second}}, 1)
	many := (32 + 306_000*150.0/(1<<20)) / 64
	want := []float64{1, 1, many, 1, 1, 8, 1, 1, 1, many, 1}
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i, r := range got {
		if diff := r.Aim - want[i]; diff > 1e-9 || diff < -1e-9 {
			t.Errorf("%s: aim %v, want %v", r.Work, r.Aim, want[i])
		}
	}
	if push := got[len(got)-1]; push.Ours != 2 || push.Peer != 3 {
		t.Errorf("push to published: %+v, want 2 s beside 2 s + the 1 s of the transfer", push)
	}
	if data, err := json.Marshal(got[0]); err != nil || !strings.Contains(string(data), `"ratio":2`) {
		t.Errorf("first row: %s, %v", data, err)
	}
}
