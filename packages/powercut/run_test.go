package powercut

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/identity"
	"micromirror/packages/vm"
)

// recordedWorkload puts a recording where Run looks for one.
func recordedWorkload(t *testing.T, dir, base string, requests []request, releases ...string) Workload {
	t.Helper()
	w := Workload{Name: "made-up", Releases: releases}
	r := &run{Workload: w}
	inputs, err := r.inputs()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(recording{inputs, len(requests)})
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, w.Name)
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{recordingFile: data, logFile: encodeLog(requests)} {
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := vm.CopySparse(base, filepath.Join(to, baseFile), 0); err != nil {
		t.Fatal(err)
	}
	return w
}

// A run counts each cut once, however often it is interrupted, and fails if a cut
// is bad.
func TestRun(t *testing.T) {
	releaseDir, _ := makeRelease(t, 1, "1")
	base := makeDisk(t, releaseDir)
	s := newScript(t, base)
	s.step(true, func(d vm.Disk) error { return d.ESPWrite("harmless", nil) })
	good := s.requests
	s.step(true, func(d vm.Disk) error { return d.ESPTruncate("slot-a/vmlinuz", 100) })
	for name, c := range map[string]struct {
		requests []request
		bad      bool
	}{"good": {good, false}, "bad": {s.requests, true}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var log bytes.Buffer
			o := Options{Dir: dir, Perms: 2, Log: &log, Workloads: []Workload{recordedWorkload(t, dir, base, c.requests, releaseDir)}}
			stopped, stop := context.WithCancel(t.Context())
			stop()
			if counts, err := Run(stopped, o); !errors.Is(err, context.Canceled) || counts != (Counts{}) {
				t.Errorf("interrupted: %+v, error %v", counts, err)
			}
			first, err := Run(t.Context(), o)
			if (err != nil) != c.bad || (first.Bad > 0) != c.bad {
				t.Errorf("%d bad cuts, error %v", first.Bad, err)
			}
			d := record(t, base, c.requests)
			if want := len(listCuts(d.entries)); first.Checked != want || first.Perms != 2 {
				t.Errorf("%+v, want %d cuts checked and 2 copies of /perm", first, want)
			}
			again, err := Run(t.Context(), o)
			if diff := cmp.Diff(first, again); diff != "" || (err != nil) != c.bad {
				t.Errorf("run again, error %v: -want +got:\n%s", err, diff)
			}
			fewer := o
			fewer.Checks = 1
			if some, _ := Run(t.Context(), fewer); some.Checked != 1 || some.Checked >= first.Checked {
				t.Errorf("%d cuts checked of %d, want one", some.Checked, first.Checked)
			}
			// A run that checks all is not content with what that one did.
			all, _ := Run(t.Context(), o)
			if diff := cmp.Diff(first, all); diff != "" {
				t.Errorf("all again: -want +got:\n%s", diff)
			}
			if got := first.String(); !strings.HasPrefix(log.String(), "powercut made-up: ") || !strings.Contains(log.String(), got) {
				t.Errorf("the log lacks %q:\n%s", got, &log)
			}
		})
	}
}

// What is different for the loader is booted first; the rest is spread evenly.
func TestChosen(t *testing.T) {
	var requests []request
	for range 100 {
		requests = append(requests, write(0, fill(9)), flush)
	}
	r := &run{disk: record(t, blankDisk(t, 4), requests)}
	view := Cut{Before: 77, Kind: Prefix}
	r.state.ByView = map[string]Cut{"x": view}
	var before []int
	for _, c := range r.chosen(5) {
		before = append(before, c.Before)
	}
	if diff := cmp.Diff([]int{77, 25, 75, 125, 175}, before); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	tried := Cut{Before: 31, Kind: Torn, Seed: 2}
	r.state.Tried = map[string]bool{tried.String(): true}
	if got := r.chosen(2); !slices.Equal(got, []Cut{view, tried}) {
		t.Errorf("%v were chosen after %s was booted, want %v and that", got, tried, view)
	}
	// Few of many views are spread too, and a cut that was taken already is replaced.
	r.state = state{ByView: map[string]Cut{}}
	for n := range 9 {
		r.state.ByView[string(rune('a'+n))] = Cut{Before: 2*n + 1, Kind: Prefix}
	}
	if got := r.chosen(3); !slices.Equal(got, []Cut{{Before: 3, Kind: Prefix}, {Before: 9, Kind: Prefix}, {Before: 15, Kind: Prefix}}) {
		t.Errorf("%v were chosen of nine views", got)
	}
	all := len(listCuts(r.disk.entries))
	if got := len(r.chosen(all + 5)); got != all {
		t.Errorf("%d were chosen, want all %d", got, all)
	}
	if got := r.chosen(0); len(got) > 0 {
		t.Errorf("%v were chosen, want none", got)
	}
}

// Runs take turns, and what one cannot use another may.
func TestShared(t *testing.T) {
	runOf := func(writes int) *run {
		var requests []request
		for range writes {
			requests = append(requests, write(0, fill(9)), flush)
		}
		return &run{disk: record(t, blankDisk(t, 4), requests)}
	}
	few, many, broken := runOf(1), runOf(50), &run{failed: errors.New("no recording")}
	cuts := len(listCuts(few.disk.entries))
	many.state.Tried = map[string]bool{many.chosen(1)[0].String(): true}
	todo, before := shared([]*run{broken, few, many}, 20)
	count := map[*run]int{}
	for n, j := range todo {
		if count[j.run]++; n > 0 && j.nth < todo[n-1].nth {
			t.Errorf("cut %d of a run comes after cut %d of another", j.nth, todo[n-1].nth)
		}
	}
	if before != 1 || count[few] != cuts || count[many] != 20-cuts-1 || count[broken] != 0 {
		t.Errorf("%d were booted before; of the run with %d cuts %d are booted, of that with many %d, of the broken one %d", before, cuts, count[few], count[many], count[broken])
	}
}

func TestExaminePerm(t *testing.T) {
	releaseDir, _ := makeRelease(t, 1, "1")
	base := makeDisk(t, releaseDir)
	s := newScript(t, base)
	s.step(true, func(d vm.Disk) error { return d.Scramble(vm.Perm, 0, 4096) }) // e2fsck has copies
	s.step(true, func(d vm.Disk) error {
		e, err := d.Extent(vm.Perm)
		return errors.Join(err, d.WriteAt(vm.Perm, 0, make([]byte, min(e.Size, 256<<20))))
	})
	d := record(t, base, s.requests)
	c, err := newChecker(d, []string{releaseDir})
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(d, nil)
	for before, bad := range map[int]bool{0: false, len(d.entries): true} {
		m := newPlayer(d, nil).at(Cut{Before: before, Kind: Prefix})
		if err := c.checkPerm(t.Context(), m, t.TempDir()); (err != nil) != bad {
			t.Errorf("cut before %d: error %v, want one: %v", before, err, bad)
		}
	}
	scrambled := p.at(Cut{Before: 1, Kind: Prefix})
	if err := c.checkPerm(t.Context(), scrambled, t.TempDir()); err != nil {
		t.Errorf("a lost superblock: %v", err)
	}
}

func TestExamineFiles(t *testing.T) {
	sets := []identity.Set{{"node.json": []byte(`{"a":1}`)}, {"node.json": []byte(`{"a":2}`)}}
	for content, bad := range map[string]bool{`{"a":1}`: false, `{"a":2}`: false, `{"a":3}`: true, `{"a":`: true, "": true} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "node.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := examineFiles(dir, sets); (err != nil) != bad {
			t.Errorf("%q: error %v, want one: %v", content, err, bad)
		}
		whole := strings.HasSuffix(content, "}")
		if err := examineFiles(dir, nil); (err == nil) != whole {
			t.Errorf("%q without sets: error %v, it is whole: %v", content, err, whole)
		}
	}
	if err := examineFiles(filepath.Join(t.TempDir(), "none"), sets); err != nil {
		t.Errorf("no folder: %v", err)
	}
}
