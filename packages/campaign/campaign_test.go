package campaign

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// module writes a module with one fuzz target that passes and, if asked, one
// that fails at once.
func module(t *testing.T, failing bool) string {
	t.Helper()
	dir := t.TempDir()
	src := "package p\nimport \"testing\"\nfunc FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) {}) }\n"
	if failing {
		src += "func FuzzBad(f *testing.F) { f.Add(1); f.Fuzz(func(t *testing.T, i int) { t.Fatal(\"always\") }) }\n"
	}
	for name, content := range map[string]string{"go.mod": "module p\n\ngo 1.26\n", "p_test.go": src, "build/x_test.go": "func FuzzNot(f *testing.F) {}"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTargets(t *testing.T) {
	got, err := Targets(module(t, true))
	if err != nil {
		t.Fatal(err)
	}
	want := []Target{{".", "FuzzGood"}, {".", "FuzzBad"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("targets (-want +got):\n%s", d)
	}
}

func TestRunReportsFailuresAndResumes(t *testing.T) {
	dir := module(t, true)
	state := filepath.Join(dir, "state", "fuzz.json")
	var log bytes.Buffer
	report := filepath.Join(dir, "state", "report.json")
	o := Options{Dir: dir, Time: 10 * time.Millisecond, Workers: 1, State: state, Report: report, Log: &log}
	err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "FuzzBad") || strings.Contains(err.Error(), "FuzzGood") {
		t.Fatalf("Run = %v, want an error that names only FuzzBad", err)
	}
	log.Reset()
	if err := Run(t.Context(), o); err == nil {
		t.Error("second run forgot the failure")
	}
	if !strings.Contains(log.String(), "FuzzGood: finished earlier") {
		t.Errorf("second run did not resume:\n%s", log.String())
	}
	kept, err := read(report)
	if err != nil || len(kept) != 1 || kept[0].Target != "..FuzzGood" || kept[0].Seconds != 0.01 {
		t.Errorf("report: %+v, %v, want FuzzGood alone", kept, err)
	}
}

func TestCounts(t *testing.T) {
	out := "fuzz: elapsed: 0s, gathering baseline coverage: 3/3 completed\n" +
		"fuzz: elapsed: 3s, execs: 12 (4/sec), new interesting: 1 (total: 4)\n" +
		"fuzz: elapsed: 6s, execs: 3456 (0/sec), new interesting: 7 (total: 10)\nPASS\n"
	if n, found := counts([]byte(out)); n != 3456 || found != 7 {
		t.Errorf("counts = %d, %d, want 3456, 7", n, found)
	}
	if n, found := counts([]byte("PASS\n")); n != 0 || found != 0 {
		t.Errorf("counts of nothing = %d, %d", n, found)
	}
}

func TestRunStartsAnewWhenAllIsFinished(t *testing.T) {
	dir := module(t, true)
	state, report := filepath.Join(dir, "fuzz.json"), filepath.Join(dir, "report.json")
	o := Options{Dir: dir, Only: "Good", Time: 10 * time.Millisecond, State: state, Report: report, Log: &bytes.Buffer{}}
	if err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("state is still there: %v", err)
	}
	if err := os.WriteFile(state, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), state) {
		t.Errorf("a damaged state file gives %v, want an error that names it", err)
	}
}
