package health

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func says(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

var (
	errBroken = errors.New("broken")
	undated   = cmpopts.IgnoreFields(Outcome{}, "Since")
)

func run(t *testing.T, counts bool, checks ...Check) Report {
	t.Helper()
	s, err := New(checks, "1", "a", time.Now, func(string) bool { return counts })
	if err != nil {
		t.Fatal(err)
	}
	return s.Run(t.Context())
}

func TestSeverity(t *testing.T) {
	for _, tc := range []struct {
		name    string
		check   Check
		counts  bool
		want    Outcome
		healthy bool
	}{
		{"passes", Check{Gate: true, Run: says(nil)}, true, Outcome{Status: OK}, true},
		{"gate fails", Check{Gate: true, Run: says(errBroken)}, true, Outcome{Status: Fail, Reason: "broken"}, false},
		{"no gate", Check{Run: says(errBroken)}, true, Outcome{Status: Warn, Reason: "broken"}, true},
		{"gate warns", Check{Gate: true, Run: says(Warning(errBroken))}, true, Outcome{Status: Warn, Reason: "broken"}, true},
		{"warning about nothing", Check{Gate: true, Run: says(Warning(nil))}, true, Outcome{Status: OK}, true},
		{"external, held before", Check{Gate: true, External: true, Run: says(errBroken)}, true, Outcome{Status: Fail, Reason: "broken", External: true}, false},
		{"external, did not hold", Check{Gate: true, External: true, Run: says(errBroken)}, false, Outcome{Status: Warn, Reason: "broken", External: true}, true},
		{"incurable", Check{Incurable: true, Run: says(errBroken)}, true, Outcome{Status: Fail, Reason: "broken", Incurable: true}, true},
		{"incurable warns", Check{Incurable: true, Run: says(Warning(errBroken))}, true, Outcome{Status: Warn, Reason: "broken"}, true},
		{"panics", Check{Gate: true, Run: func(context.Context) error { panic("oops") }}, true, Outcome{Status: Fail, Reason: "check panicked: oops"}, false},
	} {
		r := run(t, tc.counts, tc.check)
		if d := cmp.Diff([]Outcome{tc.want}, r.Checks, undated); d != "" || r.Healthy != tc.healthy {
			t.Errorf("%s: healthy %v, outcome (-want +got):\n%s", tc.name, r.Healthy, d)
		}
	}
}

func TestDependants(t *testing.T) {
	never := func(context.Context) error { t.Error("ran without what it needs"); return nil }
	r := run(t, true,
		Check{Name: "link", Gate: true, Run: says(errBroken)},
		Check{Name: "disk", Run: says(Warning(errBroken))},
		Check{Name: "gateway", Needs: []string{"link"}, Run: never},
		Check{Name: "http", Needs: []string{"disk"}, Run: says(nil)},
		Check{Name: "upstream", Needs: []string{"http", "gateway"}, Run: never},
		Check{Name: "wear", Incurable: true, Run: says(errBroken)},
		Check{Name: "clock", Run: says(errBroken)},
		Check{Name: "update", Needs: []string{"clock"}, Run: never},
	)
	want := []Outcome{
		{Name: "link", Status: Fail, Reason: "broken"}, {Name: "disk", Status: Warn, Reason: "broken"},
		{Name: "gateway", Status: Skip, Reason: "needs link"}, {Name: "http", Status: OK},
		{Name: "upstream", Status: Skip, Reason: "needs gateway"},
		{Name: "wear", Status: Fail, Reason: "broken", Incurable: true},
		{Name: "clock", Status: Warn, Reason: "broken"}, {Name: "update", Status: Skip, Reason: "needs clock"},
	}
	if d := cmp.Diff(want, r.Checks, undated); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	if r.Why() != "link: broken" {
		t.Errorf("why = %q", r.Why())
	}
	if d := cmp.Diff([]string{"http"}, r.Passed()); d != "" {
		t.Errorf("passed (-want +got):\n%s", d)
	}
}

func TestHangingCheckFailsAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, stop := time.Now(), make(chan struct{})
		defer close(stop)
		r := run(t, true, Check{Gate: true, Limit: 3 * time.Second, Run: func(context.Context) error { <-stop; return nil }})
		if r.Healthy || time.Since(start) != 3*time.Second || r.Checks[0].Reason != "no result within 3s" {
			t.Errorf("after %v: %+v", time.Since(start), r)
		}
	})
}

func TestSinceIsTheLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		s, e := New([]Check{{Name: "x", Gate: true, Run: func(context.Context) error { return err }}}, "1", "a", time.Now, nil)
		if e != nil {
			t.Fatal(e)
		}
		first := s.Run(t.Context()).Time
		time.Sleep(time.Minute) // of the bubble
		if got := s.Run(t.Context()).Checks[0].Since; !got.Equal(first) {
			t.Errorf("since = %v, want %v", got, first)
		}
		err = errBroken
		if r := s.Run(t.Context()); !r.Checks[0].Since.Equal(r.Time) {
			t.Errorf("since = %v, want now", r.Checks[0].Since)
		}
	})
}

func TestHealthyWithoutABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		s, e := New([]Check{{Name: "x", Gate: true, Run: func(context.Context) error { return err }}}, "1", "a", time.Now, nil)
		if e != nil {
			t.Fatal(e)
		}
		for i, step := range []struct {
			err  error
			want int64
		}{{nil, 0}, {nil, 60}, {Warning(errBroken), 120}, {errBroken, 0}, {nil, 0}, {nil, 60}} {
			err = step.err
			if got := s.Run(t.Context()).HealthySeconds; got != step.want {
				t.Errorf("look %d: healthy for %d s, want %d", i, got, step.want)
			}
			time.Sleep(time.Minute) // of the bubble
		}
	})
}

func TestNewRefusesBadGraphs(t *testing.T) {
	for name, checks := range map[string][]Check{
		"unknown": {{Name: "a", Needs: []string{"b"}}},
		"cycle":   {{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"a"}}},
		"twice":   {{Name: "a"}, {Name: "a"}},
	} {
		if _, err := New(checks, "", "", time.Now, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "health.json")
	want := Report{Time: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), Version: "1", Slot: "a", Healthy: true,
		Checks: []Outcome{{Name: "link", Status: Warn, Reason: "no carrier", External: true}}}
	if err := want.Write(path); err != nil {
		t.Fatal(err)
	}
	var got Report
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("error %v, report (-want +got):\n%s", err, d)
	}
}
