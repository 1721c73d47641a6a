package update

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"micromirror/packages/rollout"
	"micromirror/packages/slot"
)

// What a later release has written is read as far as it is understood, and kept.
func TestStateOfALaterRelease(t *testing.T) {
	file := filepath.Join(t.TempDir(), "update.json")
	later := `{"state":"good","version":"2027.01.01","slot":{"name":"b"},"sequence":9,"waves":{"a":[1,2]},"failed":[{"version":"x","reason":"y","count":1,"blame":"z"}]}`
	if err := os.WriteFile(file, []byte(later), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(file)
	if err == nil || !strings.Contains(err.Error(), "slot") {
		t.Errorf("a slot of an unknown form: %v", err)
	}
	want := Saved{State: Good, Version: "2027.01.01", Sequence: 9, Bad: []Failure{{Version: "x", Reason: "y", Count: 1}}}
	if d := cmp.Diff(want, s, cmpopts.IgnoreUnexported(Saved{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	s.State = Idle
	if err := s.store(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(b), `"waves"`) || !strings.Contains(string(b), `"idle"`) {
		t.Errorf("stored %s, %v", b, err)
	}
}

// An update, state written by the new release, and the way back: nothing is lost.
func TestStateSurvivesARollback(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	file := filepath.Join(b.state(), "update.json")
	s := b.saved()
	s.unknown = map[string]json.RawMessage{"later": []byte(`{"a":1}`)}
	if err := s.store(file); err != nil {
		t.Fatal(err)
	}
	// The new release turns out bad after all, and the loader goes back.
	b.dead = func(version string) bool { return version == "2026.11.02" }
	b.boot()
	b.settle()
	b.runs("2026.11.01")
	got := b.saved()
	if string(got.unknown["later"]) == "" || got.State != Failed || got.Sequence != 1 || !strings.Contains(b.console.String(), "release 2026.11.02 failed: it did not come up") {
		t.Errorf("state %+v, console:\n%s", got, b.console.String())
	}
}

// A power cut while the loader counts can cost a release its boot entry. It is
// installed again, but not for ever.
func TestEntryLostWhileCounted(t *testing.T) {
	for _, times := range []int{1, maxLost, maxLost + 1} {
		f := newFleet(t)
		b := f.newBox("one", "2026.11.01")
		cuts := 0
		b.torn = func(version string) bool {
			hit := version == "2026.11.02" && cuts < times
			if hit {
				cuts++
			}
			return hit
		}
		b.boot()
		f.publish("2026.11.02")
		b.settle()
		version, state := "2026.11.02", Good
		if times > maxLost {
			version, state = "2026.11.01", Failed
		}
		b.runs(version)
		if s := b.saved(); s.State != state || cuts != times || !strings.Contains(b.console.String(), "release 2026.11.02 is lost: its boot entry is gone") {
			t.Errorf("%d cuts of %d, state %+v, console:\n%s", cuts, times, s, b.console.String())
		}
	}
}

// The way back leads to the slot that still has an old entry of that release. One
// that is interrupted before it wrote anything there is begun again.
func TestDowngradeInterruptedBeforeItsFirstWrite(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	f.add("2026.11.01")
	o := &once{point: "installing", kind: "kill"}
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.02")
	b.fault, b.ends = o.at, func(kill func()) { o.kill = kill }
	b.start()
	f.decide(rollout.Rollout{Version: "2026.11.01", Percent: 100, Emergency: true})
	b.settle()
	b.runs("2026.11.01")
	if s := b.saved(); !o.fired || s.State != Good || len(s.Bad) != 0 {
		t.Errorf("fault %v, state %+v, console:\n%s", o.fired, s, b.console.String())
	}
}

// One that is withdrawn then leaves the fallback alone.
func TestDowngradeWithdrawnBeforeItsFirstWrite(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	f.add("2026.11.01")
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.fault = failsAt("installing")
	b.start()
	f.decide(rollout.Rollout{Version: "2026.11.01", Percent: 100, Emergency: true})
	b.settle()
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100})
	b.settle()
	b.runs("2026.11.02")
	entries, err := slot.List(string(b.esp))
	if err != nil || len(entries) != 2 || b.saved().State != Idle {
		t.Errorf("entries %+v, %v, state %+v", entries, err, b.saved())
	}
}

// A reboot that cured a good release is forgotten: what happens to the release
// later has nothing to do with it.
func TestReasonEndsWithTheBootAfterIt(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.u.GiveUp("a daemon hangs")
	if s := b.saved(); s.State != Good || s.Reason == "" {
		t.Fatalf("state %+v", s)
	}
	b.boot()
	b.settle()
	b.runs("2026.11.02")
	if s := b.saved(); s.State != Good || s.Reason != "" {
		t.Errorf("state %+v", s)
	}
}

// One that was good is brought back, too; the next release begins to count anew.
func TestEntryOfAGoodReleaseLost(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.02")
	cut := false
	b.torn = func(string) bool { first := !cut; cut = true; return first }
	b.boot()
	b.runs("2026.11.01")
	b.settle()
	b.runs("2026.11.02")
	if s := b.saved(); s.State != Good || s.Lost != 1 {
		t.Errorf("state %+v", s)
	}
	f.publish("2026.11.03")
	b.settle()
	b.runs("2026.11.03")
	if s := b.saved(); s.State != Good || s.Lost != 0 {
		t.Errorf("state %+v", s)
	}
}

func TestDamagedStateIsNone(t *testing.T) {
	for _, content := range []string{"", "{", "[]", "null", `{"state":1}`} {
		file := filepath.Join(t.TempDir(), "update.json")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Load(file)
		if s.State != Idle || err == nil && content != "null" {
			t.Errorf("%q: state %q, %v", content, s.State, err)
		}
	}
	if s, err := Load(filepath.Join(t.TempDir(), "none")); err != nil || s.State != Idle {
		t.Errorf("no file: %+v, %v", s, err)
	}
}

func FuzzSaved(f *testing.F) {
	f.Add([]byte(`{"state":"waiting","version":"1","slot":"b","generation":3,"later":[{}]}`))
	f.Add([]byte(`{"config":{"failed":[{"count":2}]},"seen":"2026-11-22T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSaved(b)
		if err != nil {
			return
		}
		out, err := s.marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseSaved(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if d := cmp.Diff(s, again, cmpopts.IgnoreUnexported(Saved{}), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}

func TestSettle(t *testing.T) {
	self := Self{Version: "1", Slot: slot.A, Boot: "now"}
	target := slot.Entry{Slot: slot.B, Release: "2", Generation: 2, Counted: true, TriesLeft: 3}
	bad := target
	bad.TriesLeft = 0
	for name, c := range map[string]struct {
		state   Saved
		self    Self
		entries []slot.Entry
		want    State
		why     string
	}{
		"nothing yet":              {Saved{State: Idle}, self, nil, Idle, ""},
		"interrupted":              {Saved{State: Installing, Boot: "then"}, self, nil, Idle, ""},
		"installed, not noted":     {Saved{State: Installing, Boot: "now"}, self, []slot.Entry{target}, Installing, ""},
		"waiting":                  {Saved{State: Waiting, Boot: "now"}, self, []slot.Entry{target}, Waiting, ""},
		"reboot did not happen":    {Saved{State: Rebooting, Boot: "now"}, self, []slot.Entry{target}, Waiting, ""},
		"first boot of a trial":    {Saved{State: Rebooting, Boot: "then"}, Self{Version: "2", Slot: slot.B, Boot: "now"}, nil, Trial, ""},
		"trial before it was due":  {Saved{State: Installing, Boot: "then"}, Self{Version: "2", Slot: slot.B, Boot: "now"}, nil, Trial, ""},
		"second boot of a trial":   {Saved{State: Trial, Boot: "then"}, Self{Version: "2", Slot: slot.B, Boot: "now"}, nil, Trial, ""},
		"tries used up":            {Saved{State: Rebooting, Boot: "then"}, self, []slot.Entry{bad}, Failed, "it did not come up"},
		"given up":                 {Saved{State: Trial, Boot: "then", Reason: "sick"}, self, []slot.Entry{bad}, Failed, "sick"},
		"entry lost":               {Saved{State: Waiting, Boot: "then"}, self, nil, Idle, "its boot entry is gone"},
		"entry of a good one lost": {Saved{State: Good, Boot: "then", Lost: 1}, self, nil, Idle, "its boot entry is gone"},
		"entry lost each time":     {Saved{State: Trial, Boot: "then", Lost: 2}, self, nil, Failed, "its boot entry is gone"},
		"given up, and lost":       {Saved{State: Trial, Boot: "then", Reason: "sick"}, self, nil, Failed, "sick"},
		"loader took the other":    {Saved{State: Waiting, Boot: "then"}, self, []slot.Entry{target}, Failed, "the loader took the other slot"},
		"good":                     {Saved{State: Good, Boot: "then"}, Self{Version: "2", Slot: slot.B, Boot: "now"}, nil, Good, ""},
		"good once, but not later": {Saved{State: Good, Boot: "then", Reason: "sick"}, self, []slot.Entry{bad}, Failed, "sick"},
		"failed stays":             {Saved{State: Failed, Boot: "then"}, self, []slot.Entry{bad}, Failed, ""},
		"failed, and runs again":   {Saved{State: Failed, Boot: "then"}, Self{Version: "2", Slot: slot.B, Boot: "now"}, nil, Trial, ""},
	} {
		s := c.state
		if s.State != Idle {
			s.Version, s.Slot, s.Generation = "2", slot.B, 2
		}
		if got, why := settle(s, c.self, c.entries); got != c.want || why != c.why {
			t.Errorf("%s: %s %q, want %s %q", name, got, why, c.want, c.why)
		}
	}
}

func TestDecide(t *testing.T) {
	self := Self{Name: "one", Hardware: "t620", Version: "2026.11.02"}
	good := rollout.Rollout{Sequence: 5, Version: "2026.11.03", Percent: 100, Seed: "x", Issued: epoch}
	change := func(f func(*rollout.Rollout)) rollout.Rollout { r := good; f(&r); return r }
	failed := func(count int, sequence uint64, ago time.Duration) Saved {
		return Saved{Bad: []Failure{{Version: good.Version, Reason: "sick", Count: count, Sequence: sequence, Time: epoch.Add(-ago)}}}
	}
	for name, c := range map[string]struct {
		r     rollout.Rollout
		saved Saved
		want  string // in the reason or error; empty: install
	}{
		"newer":                         {good, Saved{Sequence: 5}, ""},
		"older decision":                {good, Saved{Sequence: 6}, "decision 5 is older than 6"},
		"runs already":                  {change(func(r *rollout.Rollout) { r.Version = self.Version }), Saved{}, "up to date"},
		"wave not open":                 {change(func(r *rollout.Rollout) { r.Percent = 0 }), Saved{}, "not open for this node"},
		"canary":                        {change(func(r *rollout.Rollout) { r.Percent, r.Canaries = 0, []string{"one"} }), Saved{}, ""},
		"other hardware":                {change(func(r *rollout.Rollout) { r.Hardware = []string{"r220"} }), Saved{}, `for other hardware than "t620"`},
		"this hardware":                 {change(func(r *rollout.Rollout) { r.Hardware = []string{"r220", "t620"} }), Saved{}, ""},
		"too old to come from":          {change(func(r *rollout.Rollout) { r.Minimum = "2026.11.02.1" }), Saved{}, "needs at least 2026.11.02.1"},
		"old enough":                    {change(func(r *rollout.Rollout) { r.Minimum = "2026.11.02" }), Saved{}, ""},
		"downgrade":                     {change(func(r *rollout.Rollout) { r.Version = "2026.11.01" }), Saved{}, "no emergency"},
		"emergency":                     {change(func(r *rollout.Rollout) { r.Version, r.Emergency = "2026.11.01", true }), Saved{}, ""},
		"failed here":                   {good, failed(1, 5, 99*day), "failed here: sick"},
		"failed, decided anew too soon": {good, failed(1, 4, time.Hour), "failed here: sick"},
		"failed, an emergency":          {change(func(r *rollout.Rollout) { r.Emergency = true }), failed(2, 4, time.Minute), ""},
		"failed, that emergency":        {change(func(r *rollout.Rollout) { r.Emergency = true }), failed(1, 5, 99*day), "failed here: sick"},
		"failed, decided anew":          {good, failed(1, 4, 2*day), ""},
		"failed twice, decided anew":    {good, failed(2, 4, 36*time.Hour), "failed here: sick"},
		"failed three times":            {good, failed(3, 4, 99*day), "failed here: sick"},
	} {
		install, reason, err := Decide(&c.r, self, c.saved, epoch)
		if err != nil {
			reason = err.Error()
		}
		if install != (c.want == "") || !strings.Contains(reason, c.want) {
			t.Errorf("%s: %v, %q", name, install, reason)
		}
	}
}

func TestReference(t *testing.T) {
	built := epoch
	for name, c := range map[string]struct {
		now     time.Time
		trusted bool
		seen    time.Time
		want    time.Time
	}{
		"trusted":                      {epoch.Add(day), true, time.Time{}, epoch.Add(day)},
		"1970":                         {time.Unix(0, 0), false, time.Time{}, built},
		"1970, seen later":             {time.Unix(0, 0), false, epoch.Add(day), epoch.Add(day)},
		"2099":                         {epoch.Add(73 * 365 * day), false, epoch.Add(day), epoch.Add(day)},
		"2099 by a time server":        {epoch.Add(73 * 365 * day), true, epoch.Add(day), epoch.Add(73 * 365 * day)},
		"seen a future that was none":  {epoch.Add(day), true, epoch.Add(73 * 365 * day), epoch.Add(day)},
		"a little back":                {epoch.Add(day), true, epoch.Add(day + time.Hour), epoch.Add(day + time.Hour)},
		"never before the build":       {epoch.Add(-day), true, time.Time{}, built},
		"never before the build, seen": {epoch.Add(-9 * day), true, epoch.Add(-day), built},
	} {
		if got := Reference(c.now, c.trusted, built, c.seen); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestWindow(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse("15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return epoch.Truncate(day).Add(time.Duration(v.Hour())*time.Hour + time.Duration(v.Minute())*time.Minute)
	}
	for _, c := range []struct {
		window, now string
		want        time.Duration
	}{
		{"", "12:00", 0},
		{"02:00-05:00", "01:30", 30 * time.Minute},
		{"02:00-05:00", "02:00", 0},
		{"02:00-05:00", "04:59", 0},
		{"02:00-05:00", "05:00", 21 * time.Hour},
		{"23:00-01:00", "23:30", 0},
		{"23:00-01:00", "00:59", 0},
		{"23:00-01:00", "01:00", 22 * time.Hour},
	} {
		w, err := ParseWindow(c.window)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Until(at(c.now)); got != c.want {
			t.Errorf("%q at %s: %v, want %v", c.window, c.now, got, c.want)
		}
	}
	for _, s := range []string{"02:00", "2-5", "02:00-02:00", "25:00-26:00", "-"} {
		if w, err := ParseWindow(s); err == nil {
			t.Errorf("%q is %+v", s, w)
		}
	}
}
