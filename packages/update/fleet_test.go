package update

import (
	"errors"
	"fmt"
	"testing"

	"micromirror/packages/rollout"
)

// Thirty nodes take a release in waves, and only as far as the maintainers have
// opened it; a bad one stops at the canaries.
func TestThirtyNodesInWaves(t *testing.T) {
	f := newFleet(t)
	canaries := []string{"node-01", "node-02"}
	var nodes []*box
	for i := range 30 {
		b := f.newBox(fmt.Sprintf("node-%02d", i), "2026.11.01")
		b.health = func(version string, _ []byte) error {
			if version == "2026.11.03" {
				return errors.New("http-ipv4: refused")
			}
			return nil
		}
		b.boot()
		b.step()
		nodes = append(nodes, b)
	}
	count := func(version string) (n int) {
		for _, b := range nodes {
			b.step()
			b.step()
			if b.version == version {
				n++
			}
		}
		return n
	}
	included := func(r rollout.Rollout) (n int) {
		for _, b := range nodes {
			if r.Includes(b.name) {
				n++
			}
		}
		return n
	}
	f.add("2026.11.02")
	for _, percent := range rollout.Waves() {
		r := rollout.Rollout{Version: "2026.11.02", Percent: percent, Canaries: canaries, Seed: "x"}
		f.decide(r)
		got, want := count("2026.11.02"), included(r)
		if again := count("2026.11.02"); got != want || again != want {
			t.Errorf("at %d %%: %d nodes, then %d, want %d", percent, got, again, want)
		}
		t.Logf("at %3d %%: %2d of %d nodes", percent, got, len(nodes))
	}
	f.add("2026.11.03")
	f.decide(rollout.Rollout{Version: "2026.11.03", Canaries: canaries, Seed: "y"})
	if got := count("2026.11.02"); got != len(nodes) {
		t.Errorf("%d nodes run the good release", got)
	}
	tried := 0
	for _, b := range nodes {
		if _, ok := find(b.saved().Bad, "2026.11.03"); ok {
			tried++
		}
		b.runs("2026.11.02")
	}
	if tried != len(canaries) {
		t.Errorf("%d nodes tried the bad release, want the %d canaries", tried, len(canaries))
	}
	t.Logf("the bad release stopped at %d nodes", tried)
}
