package clock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/daemon"
)

func TestAgree(t *testing.T) {
	ms := time.Millisecond
	for _, tc := range []struct {
		name    string
		samples []Sample
		want    Sample
		err     bool
	}{
		{"one", []Sample{{"a", 5 * ms, ms, 0}}, Sample{"a", 5 * ms, ms, 1}, false},
		{"the exact one of two", []Sample{{"a", 5 * ms, 20 * ms, 0}, {"b", 9 * ms, ms, 0}}, Sample{"b", 9 * ms, ms, 2}, false},
		{"two that disagree", []Sample{{"a", 0, ms, 0}, {"b", time.Hour, ms, 0}}, Sample{}, true},
		{"a liar among three", []Sample{{"a", 0, 10 * ms, 0}, {"liar", time.Hour, ms, 0}, {"b", 5 * ms, 10 * ms, 0}}, Sample{"a", 0, 10 * ms, 2}, false},
		{"touching", []Sample{{"a", 0, ms, 0}, {"b", 2 * ms, ms, 0}, {"c", time.Hour, ms, 0}}, Sample{"a", 0, ms, 2}, false},
		{"a vague answer does not outvote", []Sample{{"a", 0, time.Hour, 0}, {"b", 5 * ms, ms, 0}, {"c", 6 * ms, ms, 0}}, Sample{"b", 5 * ms, ms, 3}, false},
	} {
		got, err := Agree(tc.samples)
		if d := cmp.Diff(tc.want, got); d != "" || (err != nil) != tc.err {
			t.Errorf("%s: error %v, sample (-want +got):\n%s", tc.name, err, d)
		}
	}
	if _, err := Agree(nil); !errors.Is(err, ErrDisagree) {
		t.Errorf("nobody: %v", err)
	}
}

var built = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// fake is a machine whose clock is off by a constant, in a synctest bubble.
type fake struct {
	off      time.Duration
	freq     float64
	hardware time.Time
	steps    []string
	slewed   int
}

func (f *fake) Now() time.Time { return time.Now().Round(0).Add(f.off) }
func (f *fake) Step(to time.Time) error {
	f.steps = append(f.steps, to.UTC().Format(time.RFC3339))
	f.off += to.Sub(f.Now())
	return nil
}
func (f *fake) Slew(d, _ time.Duration) error   { f.slewed++; f.off += d; return nil }
func (f *fake) Frequency() (float64, error)     { return f.freq, nil }
func (f *fake) SetFrequency(ppm float64) error  { f.freq = ppm; return nil }
func (f *fake) SetHardware(t time.Time) error   { f.hardware = t; return nil }
func (f *fake) at(t time.Time)                  { f.off = t.Sub(time.Now().Round(0)) }
func (f *fake) truth(t time.Time) time.Duration { return t.Sub(f.Now()) }

// servers answer with a fixed true time, advanced by the bubble's clock.
type servers struct {
	f     *fake
	start time.Time
	truth map[string]time.Time
}

func (s servers) Query(_ context.Context, name string) (Sample, error) {
	t, ok := s.truth[name]
	if !ok {
		return Sample{}, fmt.Errorf("ask %s: timeout", name)
	}
	return Sample{Server: name, Offset: s.f.truth(t.Add(time.Since(s.start))), Error: minError}, nil
}

// keep runs a clock for a while and returns its report and console.
func keep(t *testing.T, f *fake, d time.Duration, state string, truth map[string]time.Time, names ...string) (Report, string) {
	t.Helper()
	run := t.TempDir()
	var console bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	err := Run(ctx, Config{Servers: names, Built: built, State: state, Run: run, System: f,
		Source: servers{f, time.Now(), truth}, Log: daemon.NewLog("ntpd", io.Discard, &console)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	var r Report
	b, err := os.ReadFile(filepath.Join(run, "clock.json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, console.String()
}

func TestFarOffClockIsSteppedThenSlewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, state := &fake{freq: 3}, t.TempDir()
		f.at(built)
		noon := built.Add(12 * time.Hour)
		r, console := keep(t, f, 5*time.Minute, state, map[string]time.Time{"a": noon, "b": noon}, "a", "b", "silent")
		if d := cmp.Diff([]string{"2026-11-01T12:00:00Z"}, f.steps); d != "" || f.slewed == 0 || !r.Synced {
			t.Errorf("slewed %d times, report %+v, steps (-want +got):\n%s", f.slewed, r, d)
		}
		if !strings.Contains(console, "mm ntpd: clock synchronized server=a offset=12h0m0s stepped=true\n") {
			t.Errorf("console: %s", console)
		}
		if f.hardware.Before(noon) {
			t.Errorf("battery clock = %v", f.hardware)
		}
		// After a power cut with an empty battery.
		f = &fake{}
		f.at(time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC))
		r, _ = keep(t, f, time.Minute, state, nil, "a")
		if f.Now().Before(noon) || f.freq != 3 || r.Synced || r.Error == "" {
			t.Errorf("after the cut: clock %v, frequency %v, report %+v", f.Now(), f.freq, r)
		}
	})
}

func TestImpossibleTimesAreRefused(t *testing.T) {
	for name, says := range map[string]time.Time{
		"before the build": built.Add(-time.Hour),
		"too far ahead":    built.Add(40 * 365 * 24 * time.Hour),
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			f.at(built.Add(time.Hour))
			r, _ := keep(t, f, time.Minute, t.TempDir(), map[string]time.Time{"a": says}, "a")
			if len(f.steps) != 0 || f.slewed != 0 || r.Synced || r.Error == "" {
				t.Errorf("%s: steps %v, report %+v", name, f.steps, r)
			}
		})
	}
}

func TestTimeLastSeenGivesWayToSeveralServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := built.Add(time.Hour)
		wrong := `{"time":"2036-01-01T00:00:00Z","frequency_ppm":0}`
		for _, tc := range []struct {
			names []string
			want  bool
		}{{[]string{"a"}, false}, {[]string{"a", "b"}, true}} {
			state := t.TempDir()
			if err := os.WriteFile(filepath.Join(state, "last.json"), []byte(wrong), 0o644); err != nil {
				t.Fatal(err)
			}
			f := &fake{}
			f.at(now)
			r, _ := keep(t, f, 10*time.Minute, state, map[string]time.Time{"a": now, "b": now}, tc.names...)
			if r.Synced != tc.want || (f.Now().Year() == 2026) != tc.want {
				t.Errorf("%v: clock %v, report %+v", tc.names, f.Now(), r)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"time":"2027-01-01T00:00:00Z","frequency_ppm":12.5}`))
	f.Add([]byte(`{"time":"9999-01-01T00:00:00Z","frequency_ppm":1e300}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "last.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := &fake{}
		k := &keeper{Config: Config{State: dir, Built: built, System: m}}
		err := k.restore()
		if k.floor.Before(built) || k.floor.After(built.Add(horizon)) || m.freq < -maxFrequency || m.freq > maxFrequency {
			t.Errorf("restored floor %v, frequency %v, error %v", k.floor, m.freq, err)
		}
	})
}
