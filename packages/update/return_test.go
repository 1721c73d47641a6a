package update

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"micromirror/packages/node"
	"micromirror/packages/repository"
	"micromirror/packages/rollout"
)

// A configuration with which the update servers cannot be reached, as with wrong
// name servers, would be the last one.
func TestConfigurationThatCostsTheUpdateServersComesBack(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	f.attack(func(w http.ResponseWriter, r *http.Request) bool {
		config, err := os.ReadFile(filepath.Join(b.nodeDir(), node.FleetFile))
		lost := err == nil && bytes.Contains(config, []byte("nameless"))
		if lost {
			http.Error(w, "lost", http.StatusServiceUnavailable)
		}
		return lost
	})
	b.boot()
	f.config(f.file("nameless@example.net"), "one")
	b.settle()
	if got := b.read(node.FleetFile); got != f.file("noc@example.net") || b.restarts != 2 {
		t.Errorf("daemons started again %d times, fleet.json = %s", b.restarts, got)
	}
	if want := "no update server can be reached"; !strings.Contains(b.problem(), want) {
		t.Errorf("problem %q, want one with %q", b.problem(), want)
	}
}

// An outage may have been to blame: what was good all the time is not lost.
func TestConfigurationIsTriedAgainAfterADay(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	f.config(f.file("unplugged@example.net"), "one")
	b.settle()
	b.now = epoch.Add(23 * time.Hour)
	b.settle()
	if b.restarts != 2 {
		t.Errorf("daemons started again %d times before the day was over", b.restarts)
	}
	b.now = epoch.Add(25 * time.Hour)
	b.settle()
	if b.restarts != 4 || b.read(node.FleetFile) != f.file("noc@example.net") {
		t.Errorf("daemons started again %d times, fleet.json = %s", b.restarts, b.read(node.FleetFile))
	}
}

func TestWayBack(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	journal := filepath.Join(b.state(), "config.json")
	// Killed before they hear of it, the daemons would go on with what failed.
	seen := 0
	b.u.Config.Restart = func() error {
		if _, err := os.Stat(journal); err == nil {
			seen++
		}
		return errors.New("not now")
	}
	f.config(f.file("unplugged@example.net"), "one")
	b.settle()
	if _, err := os.Stat(journal); !errors.Is(err, os.ErrNotExist) || seen < 2 {
		t.Errorf("%d of the restarts were journalled, journal: %v", seen, err)
	}
	// What was left by a full disk is put right by the next pass.
	b.write(node.FleetFile+".old", f.file("noc@example.net"))
	b.write(node.FleetFile, f.file("torn@example.net"))
	if err := os.WriteFile(journal, []byte(`{"sum":"0123456789","files":["fleet.json"]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	b.u.Config.Restart = func() error { return nil }
	b.settle()
	if got := b.read(node.FleetFile); got != f.file("noc@example.net") {
		t.Errorf("fleet.json = %s, problem %q", got, b.problem())
	}
}

// What is laid over the fleet file is checked like it, and not told.
func TestWrongSecretIsRefused(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	b.write(node.KeyFile, id.String()+"\n")
	b.boot()
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(`{"contact":"hunter2"}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.repo.SetConfig(t.Context(), map[string][]byte{repository.SecretTarget("one"): sealed.Bytes()}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if b.restarts != 0 || b.read(node.SecretFile) != "" || !strings.Contains(b.problem(), "contact: is neither") || strings.Contains(b.problem(), "hunter2") {
		t.Errorf("daemons started again %d times, problem %q", b.restarts, b.problem())
	}
}

// Without network time, the decision itself says how much time has passed.
func TestFailedReleaseWithoutATrustedClock(t *testing.T) {
	self := Self{Name: "one", Version: "2026.11.02"}
	r := rollout.Rollout{Sequence: 5, Version: "2026.11.03", Percent: 100, Issued: epoch.Add(30 * time.Hour)}
	for name, c := range map[string]struct {
		failed time.Time
		want   bool
	}{
		"decided a day later":      {epoch, true},
		"decided hours later":      {epoch.Add(10 * time.Hour), false},
		"a clock that was in 2099": {epoch.Add(73 * 365 * day), true},
	} {
		s := Saved{Bad: []Failure{{Version: r.Version, Sequence: 4, Count: 1, Time: c.failed}}}
		if got, why, err := Decide(&r, self, s, epoch); got != c.want || err != nil {
			t.Errorf("%s: %v %s, %v", name, got, why, err)
		}
	}
}
