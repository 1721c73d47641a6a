package http

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/bench"
)

func TestMeasurementGoesOn(t *testing.T) {
	dir := t.TempDir()
	server := filepath.Join(dir, "server")
	write := func(content string) {
		if err := os.WriteFile(server, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c := &Config{Server: server, Scratch: dir, Rounds: 5, Seconds: 3}
	start := func() *progress {
		p, err := resume(c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	row := bench.NewRow("4 KiB", "s", 1, 2, 0.9)
	if err := start().Add(row); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&row, find(start(), "4 KiB")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if find(start(), "64 KiB") != nil {
		t.Error("found what was not done")
	}
	c.Only = "4 KiB"
	for range 2 {
		if p := start(); find(p, "4 KiB") != nil {
			t.Error("what is asked for by hand is not measured")
		} else if err := p.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	c.Only, c.Rounds = "", 7
	if find(start(), "4 KiB") != nil {
		t.Error("other settings go on with old rows")
	}
	c.Rounds = 5
	write("second")
	if find(start(), "4 KiB") != nil {
		t.Error("another server goes on with old rows")
	}
	write("first")
	if err := start().Done(); err != nil {
		t.Fatal(err)
	}
	if find(start(), "4 KiB") != nil {
		t.Error("a finished measurement is not begun anew")
	}
}
