package update

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/release"
	"micromirror/packages/rollout"
	"micromirror/packages/slot"
)

// noon is far from this window.
var night = Window{from: 2 * 3600e9, to: 3 * 3600e9}

// A release whose entry was written, but not noted, is withdrawn like one that
// waits: the loader would choose it.
func TestWithdrawnBeforeItWasNoted(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.window = night
	b.fault = failsAt("installed")
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.start()
	if s := b.saved(); s.State != Installing {
		t.Fatalf("state %+v", s)
	}
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 0})
	b.settle()
	entries, err := slot.List(string(b.esp))
	if err != nil || len(entries) != 1 || b.saved().State != Idle {
		t.Errorf("entries %+v, %v, state %+v", entries, err, b.saved())
	}
	b.boot()
	b.settle()
	b.runs("2026.11.01")
}

// An installation that did not begin has not cost the fallback.
func TestWithdrawnBeforeItWasWritten(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.02")
	b.fault = failsAt("installing")
	b.start()
	f.publish("2026.11.03")
	b.settle()
	f.decide(rollout.Rollout{Version: "2026.11.03", Percent: 0})
	b.settle()
	entries, err := slot.List(string(b.esp))
	if err != nil || len(entries) != 2 || b.saved().State != Idle {
		t.Errorf("entries %+v, %v, state %+v", entries, err, b.saved())
	}
	b.runs("2026.11.02")
}

// What waits for its window stops waiting when it becomes urgent.
func TestWaitingReleaseBecomesAnEmergency(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.window = night
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.01")
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100, Emergency: true})
	b.settle()
	b.runs("2026.11.02")
}

// A release that failed leaves nothing behind on /perm.
func TestFailedReleaseLeavesNoDownload(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.dead = func(version string) bool { return version == "2026.11.02" }
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.01")
	if left, err := os.ReadDir(filepath.Join(b.state(), "download")); err == nil {
		t.Errorf("left of the download: %v", left)
	}
}

// Leftovers go before a release is refused for want of room.
func TestLeftoversMakeRoom(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	junk := filepath.Join(string(b.esp), "FSCK0000.REC")
	if err := os.WriteFile(junk, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	rel := &release.Release{Kernel: release.File{Name: release.KernelFile, Size: 1 << 60}}
	if err := b.u.fits(rel); err == nil || !strings.Contains(err.Error(), "are needed") {
		t.Errorf("a kernel larger than any disk: %v", err)
	}
	if _, err := os.Stat(junk); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover is still there: %v", err)
	}
}
