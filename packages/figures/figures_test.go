package figures

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/release"
	"micromirror/packages/vm"
)

func TestSplit(t *testing.T) {
	mark := func(name string, seconds int) vm.Mark {
		return vm.Mark{Name: name, At: time.Duration(seconds) * time.Second}
	}
	whole := []vm.Mark{mark("firmware", 4), mark("loader", 6), mark("kernel", 7), mark("initrd", 10), mark("root", 11), mark("switch", 13), mark("serving", 19)}
	for _, c := range []struct {
		name   string
		marks  []vm.Mark
		served int
		want   boot
		bad    bool
	}{
		{name: "whole", marks: whole, served: 20, want: boot{firmware: 6, kernel: 4, initrd: 3, daemons: 7}},
		{name: "page before init", marks: whole, served: 12, bad: true},
		{name: "no initrd", marks: whole[:3], served: 20, bad: true},
		{name: "nothing", served: 20, bad: true},
		{name: "out of order", marks: []vm.Mark{mark("loader", 6), mark("initrd", 5), mark("switch", 7)}, served: 20, bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := split(c.marks, time.Duration(c.served)*time.Second)
			if got != c.want || (err != nil) != c.bad {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
			if err == nil && (got.init() != 13 || got.served() != 20) {
				t.Errorf("init after %v, page after %v", got.init(), got.served())
			}
		})
	}
}

func TestMediansOfTheLaterBoots(t *testing.T) {
	later := []boot{{1, 2, 3, 4, 100}, {1, 9, 3, 4, 120}, {2, 3, 3, 4, 300}}
	got := map[string]float64{}
	for _, f := range describe(boot{10, 10, 10, 10, 999}, later) {
		got[f.Name] = f.Value
	}
	want := map[string]float64{
		"used by the idle node": 120, "firmware and loader": 1, "kernel": 3, "initrd": 3, "daemons, to the first page": 4,
		"power-on to init": 8, "power-on to the first page": 12, "the same, first boot of a disk": 40,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMemoryLine(t *testing.T) {
	for text, want := range map[string]string{
		"[   40.1] mm updated: memory used 97 MiB of 937 MiB": "97",
		"mm updated: slot a healthy, re-armed":                "",
	} {
		got := ""
		if m := memoryLine.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSlotIsKernelInitrdAndRoot(t *testing.T) {
	r := &release.Release{Kernel: release.File{Size: 12 << 20}, Initrd: release.File{Size: 8 << 20}, Loader: release.Loader{File: release.File{Size: 1 << 20}}}
	r.Root.Size = 40 << 20
	for _, f := range sizes(r) {
		if f.Aim != 0 && (f.Value != 60 || f.Aim != 64) {
			t.Errorf("slot: %+v", f)
		}
	}
}

func TestStoredCountsNoHoles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	if got, err := stored(path); err != nil || got > 1 {
		t.Errorf("stored = %v MiB, %v", got, err)
	}
}

func TestHost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loadavg")
	for text, load := range map[string]float64{"0.52 0.58 0.59 1/467 1234\n": 0.52, "": -1, "much\n": -1} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := describeHost(path)
		if (err != nil) != (load < 0) || err == nil && r.Load != load {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

func TestPrint(t *testing.T) {
	r := Report{Release: "1", Measured: time.Unix(0, 0).UTC(), Accelerator: vm.TCG, CPUs: 2, Load: 0.25, Figures: []Figure{
		{Group: "sizes", Name: "slot", Value: 65, Unit: "MiB", Aim: 64},
		{Group: "sizes", Name: "kernel", Value: 12.34, Unit: "MiB"},
		{Group: "boot", Name: "page", Value: 30, Unit: "s", Aim: 35, Note: "median of 3"},
		{Group: "network", Name: "rules", Failed: "nothing within 15m0s\nmore"},
	}}
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	want := "release 1, measured 1970-01-01 00:00 UTC on 2 CPUs with tcg, load 0.2 at the start\n\n" +
		"         FIGURE  VALUE         AIM           NOTE\n" +
		"sizes    slot    65.0 MiB      ≤ 64, missed\n" +
		"         kernel  12.3 MiB\n" +
		"boot     page    30.0 s        ≤ 35          median of 3\n" +
		"network  rules   not measured                nothing within 15m0s\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A part that fails keeps what it has measured, and says why the rest is missing.
func TestWhatCannotBeMeasuredIsTold(t *testing.T) {
	var log bytes.Buffer
	one := Figure{Group: "boot", Name: "page", Value: 30}
	got := Report{Figures: attempt(&log, "boot", "the rest", func() ([]Figure, error) { return []Figure{one}, errors.New("no power") })}
	if diff := cmp.Diff([]Figure{one, {Group: "boot", Name: "the rest", Failed: "no power"}}, got.Figures); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := "figures: boot: the rest: not measured: no power\n"; log.String() != want {
		t.Errorf("log %q, want %q", &log, want)
	}
	if err := got.Err(); err == nil || !strings.Contains(err.Error(), "1 could not be measured") {
		t.Errorf("error %v", err)
	}
	if err := (&Report{Figures: []Figure{one}}).Err(); err != nil {
		t.Errorf("nothing failed: %v", err)
	}
}

func TestOnlyWhatThereIsIsMeasured(t *testing.T) {
	if err := (Options{Only: []string{"network", "sizes"}}).check(); err != nil {
		t.Error(err)
	}
	if err := (Options{Only: []string{"nosuch"}}).check(); err == nil || !strings.Contains(err.Error(), "sizes, boot, network") {
		t.Errorf("error %v, want the parts that there are", err)
	}
}
