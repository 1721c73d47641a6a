package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func good() *Rollout {
	return &Rollout{
		Sequence: 7, Version: "2026.11.22-abcdef", Minimum: "2026.10.1", Canaries: []string{"ams-1", "fra2"}, Percent: 10,
		Seed: "x7", Soak: "24h", Issued: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Hardware: []string{"qemu", "hp-t620"},
	}
}

func TestRoundTrip(t *testing.T) {
	b, err := good().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(good(), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestUnknownKeysAreIgnored(t *testing.T) {
	b, err := good().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse([]byte(strings.Replace(string(b), "{", `{"newer": [1, 2],`, 1))); err != nil {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	for want, change := range map[string]func(*Rollout){
		`sequence: "0"`:                 func(r *Rollout) { r.Sequence = 0 },
		`version: "../x"`:               func(r *Rollout) { r.Version = "../x" },
		`version: ""`:                   func(r *Rollout) { r.Version = "" },
		`minimum: "a b"`:                func(r *Rollout) { r.Minimum = "a b" },
		`percent: "20"`:                 func(r *Rollout) { r.Percent = 20 },
		`percent: "-10"`:                func(r *Rollout) { r.Percent = -10 },
		`seed: ""`:                      func(r *Rollout) { r.Seed = "" },
		`seed: "a b"`:                   func(r *Rollout) { r.Seed = "a b" },
		`soak: "1 day"`:                 func(r *Rollout) { r.Soak = "1 day" },
		`soak: "-1h"`:                   func(r *Rollout) { r.Soak = "-1h" },
		`soak: "999999h"`:               func(r *Rollout) { r.Soak = "999999h" },
		`issued: "0001-01-01`:           func(r *Rollout) { r.Issued = time.Time{} },
		`canaries[1]: "Bad_Name"`:       func(r *Rollout) { r.Canaries[1] = "Bad_Name" },
		`canaries[1]: "ams-1" is there`: func(r *Rollout) { r.Canaries[1] = "ams-1" },
		`canaries: 1001 names`:          func(r *Rollout) { r.Canaries = make([]string, 1001) },
		`hardware[0]: ""`:               func(r *Rollout) { r.Hardware[0] = "" },
	} {
		r := good()
		change(r)
		if _, err := r.Marshal(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %s", err, want)
		}
	}
}

func TestParseMistakes(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "unexpected end",
		"[]":                         "cannot unmarshal array",
		`{"sequence": -1}`:           "sequence",
		`{}`:                         "version",
		strings.Repeat(" ", 1<<19):   "more than",
		`{"issued": "yesterday"}`:    "yesterday",
		`{"percent": "10"}`:          "percent",
		`{"sequence": 1} {"seq": 2}`: "after top-level value",
	} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40q): error = %v, want %q", in, err, want)
		}
	}
}

// TestWavesGrow looks at many nodes: each wave holds the one before and has
// about the size that it says.
func TestWavesGrow(t *testing.T) {
	const nodes = 10000
	r := good()
	before := map[string]bool{}
	for _, percent := range Waves() {
		r.Percent = percent
		count := 0
		for i := range nodes {
			name := fmt.Sprintf("node-%d", i)
			in := r.Includes(name)
			if before[name] && !in {
				t.Fatalf("%s left at %d percent", name, percent)
			}
			before[name] = in
			if in {
				count++
			}
		}
		if got := count * 100 / nodes; got < percent-2 || got > percent+2 {
			t.Errorf("%d percent hold %d percent of the nodes", percent, got)
		}
	}
}

func TestSeedReorders(t *testing.T) {
	same := 0
	for i := range 1000 {
		if name := fmt.Sprintf("node-%d", i); Place("a", name) == Place("b", name) {
			same++
		}
	}
	if same > 50 {
		t.Errorf("%d of 1000 nodes have the same place under another seed", same)
	}
	// Nodes of all releases must agree, so the places are fixed for ever.
	got := []int{Place("a", "node-1"), Place("a", "node-2"), Place("b", "node-1")}
	if diff := cmp.Diff([]int{82, 84, 19}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestCanariesAlways(t *testing.T) {
	r := good()
	r.Percent = 0
	if !r.Includes("fra2") || r.Includes("other") {
		t.Errorf("at 0 percent: canary %v, other %v", r.Includes("fra2"), r.Includes("other"))
	}
}

func TestNext(t *testing.T) {
	type next struct {
		Percent int
		OK      bool
	}
	for in, want := range map[int]next{0: {10, true}, 10: {50, true}, 50: {100, true}, 100: {0, false}, 7: {0, false}} {
		p, ok := (&Rollout{Percent: in}).Next()
		if diff := cmp.Diff(want, next{p, ok}); diff != "" {
			t.Errorf("after %d: -want +got\n%s", in, diff)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"2026.11.21-0479d1f", "2026.11.22-0000000", -1},
		{"2026.11.9", "2026.11.10", -1},
		{"2026.11.09", "2026.11.9", 0},
		{"2026.11.21-aaa", "2026.11.21-bbb", 0},
		{"2026.11.21-aaa-dirty", "2026.11.21", 0},
		{"1.2", "1.2.1", -1},
		{"1a", "1b", -1},
		{"v2", "10", 1},
		{"100000000000000000000000000000", "99999999999999999999999999999", 1},
		{"", "1", -1},
	} {
		if got := Compare(c.a, c.b); got != c.want {
			t.Errorf("Compare(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Compare(c.b, c.a); got != -c.want {
			t.Errorf("Compare(%q, %q) = %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, err := good().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"sequence":1,"version":"1","percent":0,"seed":"s","issued":"2026-01-01T00:00:00Z","emergency":true}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		out, err := r.Marshal()
		if err != nil {
			t.Fatalf("accepted, but cannot be written: %v", err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("written, but not accepted: %v", err)
		}
		if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if r.Percent == 100 && !r.Includes("any") {
			t.Error("100 percent leave a node out")
		}
	})
}
