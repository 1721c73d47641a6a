package desk

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/repository"
	"micromirror/packages/rollout"
)

// decision is the roll-out as a node would read it.
func (o *office) decision() *rollout.Rollout {
	o.t.Helper()
	r, err := repository.At(o.fleet).Rollout()
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

// started is an office whose two canaries run the new release, healthy since now.
func started(t *testing.T) *office {
	t.Helper()
	o := newOffice(t)
	o.release("1", -2)
	o.release("2", -1)
	o.ok("rollout", "start", "2", "--canary", "one,two", "--soak", "24h", "--minimum", "1")
	o.nodes["one"].boot("2")
	o.nodes["two"].boot("2")
	return o
}

func TestWavesOpenOneByOne(t *testing.T) {
	o := started(t)
	want := &rollout.Rollout{Sequence: 1, Version: "2", Minimum: "1", Canaries: []string{"one", "two"}, Seed: "2", Soak: "24h",
		Issued: o.clock, Hardware: []string{"qemu"}}
	if diff := cmp.Diff(want, o.decision()); diff != "" {
		t.Errorf("start: -want +got\n%s", diff)
	}
	for i, percent := range []int{10, 50, 100} {
		o.clock = o.clock.Add(23 * time.Hour)
		o.refused([]string{"stays closed", "open for 23h0m0s of 24h"}, "rollout", "next")
		o.clock = o.clock.Add(time.Hour)
		out := o.ok("rollout", "next")
		if !strings.Contains(out, "percent") {
			t.Errorf("output = %s", out)
		}
		want.Sequence, want.Percent, want.Issued = uint64(i+2), percent, o.clock
		if diff := cmp.Diff(want, o.decision()); diff != "" {
			t.Errorf("next: -want +got\n%s", diff)
		}
	}
	a := as[nextAnswer](o, "rollout", "next")
	if a.Opened || o.decision().Sequence != 4 {
		t.Errorf("after the last wave: %+v", a)
	}
}

func TestWaveStaysClosed(t *testing.T) {
	original := started(t)
	for name, tt := range map[string]struct {
		change func(o *office)
		want   []string
	}{
		"another version": {func(o *office) { o.nodes["two"].boot("1") }, []string{`canary two: runs "1", not "2"`}},
		"restarted":       {func(o *office) { o.nodes["two"].boot("2") }, []string{"canary two: healthy for 1h0m0s of 24h"}},
		"ill":             {func(o *office) { o.nodes["one"].ill = http.ErrBodyNotAllowed }, []string{"canary one: unhealthy: http: "}},
		"stale": {func(o *office) { o.nodes["one"].stale = errors.New("last synchronised 2 days ago") },
			[]string{"canary one: project debian: last synchronised 2 days ago"}},
		"off": {func(o *office) { o.nodes["one"].Close() }, []string{"canary one: does not answer"}},
		"both": {func(o *office) { o.nodes["one"].boot("1"); o.nodes["two"].boot("1") },
			[]string{"canary one: runs", "canary two: runs"}},
		"no report": {answers(503, `{"healthy":false,"reason":"health report is old"}`), []string{"canary two: health report is old"}},
		"not JSON":  {answers(200, "<html>"), []string{"canary two: ", "answers no health report"}},
		"not found": {answers(404, "{}"), []string{"canary two: ", "404"}},
		"no time":   {answers(200, `{"healthy":true,"version":"2"}`), []string{"canary two: healthy for 0s of 24h"}},
		"503":       {answers(503, `{"healthy":true,"version":"2"}`), []string{"canary two: unhealthy"}},
		"endless":   {answers(200, strings.Repeat(" ", healthSize+2)), []string{"canary two: ", "more than"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := original.copied(t)
			o.nodes["one"].boot("2")
			o.nodes["two"].boot("2")
			o.clock = o.clock.Add(30 * time.Hour)
			tt.change(o)
			o.clock = o.clock.Add(time.Hour)
			o.refused(tt.want, "rollout", "next")
			if got := o.decision(); got.Sequence != 1 || got.Percent != 0 {
				t.Errorf("decision = %+v", got)
			}
		})
	}
}

func answers(code int, body string) func(o *office) {
	return func(o *office) {
		o.nodes["two"].answer = func(w http.ResponseWriter) {
			w.WriteHeader(code)
			w.Write([]byte(body))
		}
	}
}

// A canary that was ill meanwhile begins its time anew; one that lost the world
// outside does not.
func TestSoakTime(t *testing.T) {
	o := started(t)
	look := func() { o.nodes["one"].look(t.Context()) }
	o.clock = o.clock.Add(20 * time.Hour)
	o.nodes["one"].offline = http.ErrBodyNotAllowed
	look()
	o.clock = o.clock.Add(time.Hour)
	o.nodes["one"].offline = nil
	look()
	o.clock = o.clock.Add(4 * time.Hour)
	o.ok("rollout", "next")
	o.nodes["one"].ill = http.ErrBodyNotAllowed
	look()
	o.clock = o.clock.Add(time.Hour)
	o.nodes["one"].ill = nil
	look()
	o.clock = o.clock.Add(23*time.Hour + time.Minute)
	o.refused([]string{"canary one: healthy for 23h1m0s of 24h"}, "rollout", "next")
	o.clock = o.clock.Add(time.Hour)
	o.ok("rollout", "next")
}

// What a release may have broken without making a node ill keeps the wave closed,
// unless the maintainer knows better.
func TestDespite(t *testing.T) {
	o := started(t)
	o.clock = o.clock.Add(25 * time.Hour)
	o.nodes["one"].stale, o.nodes["two"].offline = errors.New("upstream is down"), errors.New("no carrier")
	o.refused([]string{"canary one: project debian: upstream is down", "canary two: link: no carrier"}, "rollout", "next")
	o.refused([]string{"stays closed: canary two: link: no carrier"}, "rollout", "next", "--despite", "project debian")
	if out := o.ok("rollout", "status"); !strings.Contains(out, "healthy for 25h0m0s, but project debian: upstream is down") {
		t.Errorf("status:\n%s", out)
	}
	o.ok("rollout", "next", "--despite", "project debian", "--despite", "link")
	if got := o.decision(); got.Percent != 10 {
		t.Errorf("decision = %+v", got)
	}
}

func TestHaltAndAgain(t *testing.T) {
	o := started(t)
	o.clock = o.clock.Add(25 * time.Hour)
	o.ok("rollout", "next")
	o.ok("rollout", "halt")
	if got := o.decision(); got.Sequence != 3 || got.Percent != 0 || len(got.Canaries) != 0 || got.Includes("one") {
		t.Errorf("halted = %+v", got)
	}
	o.refused([]string{"roll-out of 2 is halted", "rollout start 2"}, "rollout", "next")
	o.ok("rollout", "start", "2", "--canary", "three")
	if got := o.decision(); got.Sequence != 4 || !got.Includes("three") {
		t.Errorf("begun again = %+v", got)
	}
}

func TestRollback(t *testing.T) {
	o := started(t)
	o.refused([]string{"1 is older than 2", "mirrorctl rollback 1"}, "rollout", "start", "1", "--canary", "one")
	o.refused([]string{"2 is no way back from 2", "older release"}, "rollback", "2")
	got := as[rollout.Rollout](o, "rollback", "1", "--only", "one")
	want := rollout.Rollout{Sequence: 2, Version: "1", Emergency: true, Canaries: []string{"one"}, Seed: "1", Issued: o.clock, Hardware: []string{"qemu"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("only one: -want +got\n%s", diff)
	}
	o.refused([]string{"1 is in force as an emergency", "rollout start"}, "rollout", "next")
	o.ok("rollback", "1")
	want.Sequence, want.Canaries, want.Percent = 3, nil, 100
	if diff := cmp.Diff(&want, o.decision()); diff != "" {
		t.Errorf("all: -want +got\n%s", diff)
	}
	o.refused([]string{"2 is no way back from 1"}, "rollback", "2")
	o.ok("rollout", "start", "2", "--canary", "one") // and forward again
	o.refused([]string{`"9" is not published`, "1, 2"}, "rollback", "9")
}

func TestStartMistakes(t *testing.T) {
	o := newOffice(t)
	o.refused([]string{"no roll-out"}, "rollout", "next")
	o.refused([]string{"no roll-out"}, "rollout", "halt")
	o.refused([]string{`"1" is not published`, "mirrorctl release"}, "rollout", "start", "1", "--canary", "one")
	o.release("1", 0)
	o.node("four", "hp-t620")
	o.refused([]string{"--canary"}, "rollout", "start", "1")
	o.refused([]string{"--canary nine", "nine.json"}, "rollout", "start", "1", "--canary", "nine")
	o.refused([]string{"--canary four", "hp-t620", "runs on qemu only"}, "rollout", "start", "1", "--canary", "four")
	o.refused([]string{`soak: "soon"`}, "rollout", "start", "1", "--canary", "one", "--soak", "soon")
	o.refused([]string{`minimum: "a b"`}, "rollout", "start", "1", "--canary", "one", "--minimum", "a b")
	o.ok("rollout", "start", "1", "--canary", "one")
	o.refused([]string{`"nonsense"`, "NODE=HOST:PORT"}, "rollout", "next", "--address", "nonsense")
}

func TestStatusOfTheFleet(t *testing.T) {
	o := newOffice(t)
	if out := o.ok("rollout", "status"); !strings.Contains(out, "no roll-out") {
		t.Errorf("before the first: %s", out)
	}
	o = started(t)
	o.clock = o.clock.Add(time.Hour)
	a := as[statusAnswer](o, "rollout", "status")
	want := []nodeState{
		{Name: "one", Included: true, Canary: true, Version: "2", Healthy: true, Seconds: 3600},
		{Name: "three", Version: "old", Healthy: true, Seconds: 3600, Problem: `runs "old", not "2"`},
		{Name: "two", Included: true, Canary: true, Version: "2", Healthy: true, Seconds: 3600},
	}
	if diff := cmp.Diff(want, a.Nodes); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	out := o.ok("rollout", "status")
	for _, w := range []string{"releases: 1, 2", "roll-out 1: 2 for 0 percent", "canary", "healthy for 1h0m0s", `runs "old"`} {
		if !strings.Contains(out, w) {
			t.Errorf("output lacks %q:\n%s", w, out)
		}
	}
}
