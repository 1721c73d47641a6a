package update

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"micromirror/packages/repository"
	"micromirror/packages/rollout"
	"micromirror/packages/slot"
)

func TestUpdate(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	b.settle()
	b.runs("2026.11.01")
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.02")
	if s := b.saved(); s.State != Good || s.Slot != slot.B || s.Sequence != 1 || b.problem() != "" || b.boots != 2 {
		t.Errorf("%d boots, problem %q, state %+v", b.boots, b.problem(), s)
	}
	want := []string{"update: checking", "downloading 2026.11.02: 0 of 0 MiB", "downloading 2026.11.02: 0 of 0 MiB",
		"installed 2026.11.02 in slot b", "rebooting into 2026.11.02", "release 2026.11.02 is good", "update: checking"}
	var got []string
	for line := range strings.Lines(b.console.String()) {
		line, _, _ = strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "<5>mm updated: ")), " received_bytes")
		got = append(got, line)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("console (-want +got):\n%s", d)
	}
}

func TestBadReleaseRollsBackAndIsRemembered(t *testing.T) {
	for name, bad := range map[string]func(b *box){
		"it did not come up": func(b *box) { b.dead = func(v string) bool { return v == "2026.11.02" } },
		"http-ipv4: refused": func(b *box) {
			b.health = func(v string, _ []byte) error {
				if v == "2026.11.02" {
					return errors.New("http-ipv4: refused")
				}
				return nil
			}
		},
	} {
		f := newFleet(t)
		b := f.newBox("one", "2026.11.01")
		bad(b)
		b.boot()
		f.publish("2026.11.02")
		b.settle()
		b.runs("2026.11.01")
		if want := "release 2026.11.02 failed: " + name + ", staying on 2026.11.01\n"; !strings.Contains(b.console.String(), want) {
			t.Errorf("no %q on the console:\n%s", want, b.console.String())
		}
		if s := b.saved(); s.State != Failed || len(s.Bad) != 1 || s.Bad[0].Reason != name || b.boots != 1+slot.TrialTries+1 {
			t.Errorf("%d boots, state %+v", b.boots, s)
		}
		f.publish("2026.11.03")
		b.settle()
		b.runs("2026.11.03")
	}
}

// Three releases up, one emergency downgrade, one release four times the size.
func TestLongWay(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	identity := b.read("node.json")
	for _, version := range []string{"2026.11.02", "2026.11.03", "2026.11.04"} {
		f.publish(version)
		b.settle()
		b.runs(version)
	}
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100, Emergency: true})
	b.settle()
	b.runs("2026.11.02")
	b.size["2026.11.05"] = 4
	if _, _, err := f.repo.AddRelease(t.Context(), f.make("2026.11.05", 4)); err != nil {
		t.Fatal(err)
	}
	f.decide(rollout.Rollout{Version: "2026.11.05", Percent: 100})
	b.settle()
	b.runs("2026.11.05")
	if b.read("node.json") != identity || len(b.saved().Bad) != 0 || b.saved().Generation != 6 {
		t.Errorf("node.json %s, state %+v", b.read("node.json"), b.saved())
	}
}

func TestWithdrawnReleaseIsNotBooted(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.window = Window{from: 2 * 3600e9, to: 3 * 3600e9} // it is noon
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.01")
	if s := b.saved(); s.State != Waiting {
		t.Fatalf("state %+v", s)
	}
	// The program starting again, and a power cut, change nothing about that: the
	// loader boots what waits.
	b.start()
	if s := b.saved(); s.State != Waiting {
		t.Errorf("state %+v", s)
	}
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 0})
	b.settle()
	entries, err := slot.List(string(b.esp))
	if err != nil || len(entries) != 1 || entries[0].Counted || b.saved().State != Idle {
		t.Errorf("entries %+v, %v, state %+v", entries, err, b.saved())
	}
	// An emergency does not wait.
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100, Emergency: true})
	b.settle()
	b.runs("2026.11.02")
}

func TestWindowOpens(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.window = Window{from: 2 * 3600e9, to: 3 * 3600e9}
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.now = epoch.Add(14*3600e9 + 1)
	b.u.due = b.u.due.Add(-day) // the monotonic clock goes on, too
	b.settle()
	b.runs("2026.11.02")
}

func TestPowerCutWhileWaitingStartsTheTrial(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.window = Window{from: 2 * 3600e9, to: 3 * 3600e9}
	b.boot()
	f.publish("2026.11.02")
	b.settle()
	b.boot()
	b.settle()
	b.runs("2026.11.02")
	if s := b.saved(); s.State != Good {
		t.Errorf("state %+v", s)
	}
}

// What does not fit is not begun.
func TestReleaseThatDoesNotFit(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	if _, _, err := f.repo.AddRelease(t.Context(), f.make("2026.11.02", 6)); err != nil {
		t.Fatal(err)
	}
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100})
	b.settle()
	b.runs("2026.11.01")
	b.untouched()
	if want := "root.img has 1228800 bytes, the slot's partition only 1048576"; !strings.Contains(b.problem(), want) {
		t.Errorf("problem %q, want one with %q", b.problem(), want)
	}
	// Leftovers of other releases are removed, and the next one that fits is taken.
	f.publish("2026.11.03")
	b.settle()
	b.runs("2026.11.03")
	if left, err := os.ReadDir(filepath.Join(b.state(), "download")); err == nil {
		t.Errorf("left of the downloads: %v", left)
	}
}

// The decision may say less than the release itself.
func TestReleaseForOtherHardware(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	if _, _, err := f.repo.AddRelease(t.Context(), f.make("2026.11.02", 1, "r220")); err != nil {
		t.Fatal(err)
	}
	f.decide(rollout.Rollout{Version: "2026.11.02", Percent: 100, Hardware: []string{"qemu"}})
	b.settle()
	b.untouched()
	if !strings.Contains(b.problem(), `for other hardware than "qemu"`) {
		t.Errorf("problem %q", b.problem())
	}
}

func TestOff(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	b.u.Off = "the node has no root.json"
	f.publish("2026.11.02")
	b.settle()
	b.untouched()
	if got := b.u.status().Error; got != "off, the node has no root.json" {
		t.Errorf("status error %q", got)
	}
}

// The keys of each role change, and one root key is lost: nodes follow the chain of
// roots.
func TestNodesFollowNewKeys(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	b.settle()
	for i, role := range append(repository.Roles(), "lost") {
		id := ""
		if role == "lost" {
			role, id = metadata.ROOT, f.loseRootKey()
		}
		if _, err := f.repo.RotateKey(t.Context(), role, id); err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		version := fmt.Sprintf("2026.11.%02d", i+2)
		f.publish(version)
		b.settle()
		b.runs(version)
	}
}

// loseRootKey removes the file of a root key, and returns the key's ID.
func (f *fleet) loseRootKey() string {
	f.t.Helper()
	status, err := f.repo.Status()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, role := range status {
		for _, k := range role.Keys {
			if role.Name == metadata.ROOT && k.File != "" {
				if err := os.Remove(k.File); err != nil {
					f.t.Fatal(err)
				}
				return k.ID
			}
		}
	}
	f.t.Fatal("no root key")
	return ""
}
