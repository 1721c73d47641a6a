package desk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const fleetSize = 30

// bigFleet has 30 nodes that run release 1.
func bigFleet(t *testing.T) *office {
	t.Helper()
	o := newOffice(t)
	for i := len(o.nodes); i < fleetSize; i++ {
		name := fmt.Sprintf("node%d", i)
		o.node(name, "qemu")
		o.nodes[name] = newFakeNode(o)
	}
	o.release("1", -2)
	o.release("2", -1)
	for _, n := range o.nodes {
		n.boot("1")
	}
	return o
}

// poll lets every node obey the decision in force as a node does: take what it
// is included in, unless that failed here before. A bad release fails its trial.
func (o *office) poll(bad string, tried map[string]bool) {
	r := o.decision()
	for name, n := range o.nodes {
		if !r.Includes(name) || n.version == r.Version || r.Version == bad && tried[name] {
			continue
		}
		before := n.version
		tried[name] = true
		n.boot(r.Version)
		if r.Version == bad {
			n.ill = errors.New("dead")
			n.look(o.t.Context())
			n.ill = nil
			n.boot(before)
		}
	}
}

// running names the nodes that run a release.
func (o *office) running(version string) []string {
	var out []string
	for name, n := range o.nodes {
		if n.version == version {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// TestThirtyNodesTakeARelease: cron runs "rollout next" every six hours.
func TestThirtyNodesTakeARelease(t *testing.T) {
	o := bigFleet(t)
	o.ok("rollout", "start", "2", "--canary", "one,two", "--soak", "24h")
	var sizes []int
	for range 4 * 5 {
		o.poll("", map[string]bool{})
		if n := len(o.running("2")); len(sizes) == 0 || sizes[len(sizes)-1] != n {
			sizes = append(sizes, n)
		}
		o.clock = o.clock.Add(6 * time.Hour)
		for _, n := range o.nodes {
			n.look(t.Context())
		}
		if _, err := o.run("rollout", "next"); err != nil && !strings.Contains(err.Error(), "stays closed") {
			t.Fatal(err)
		}
	}
	// The seed of release 2 puts so many of these names into each wave.
	if diff := cmp.Diff([]int{2, 5, 19, 30}, sizes); diff != "" {
		t.Errorf("nodes with the release: -want +got\n%s", diff)
	}
}

// TestBadReleaseEndsWithTheCanaries: they go back by themselves, and no other
// node ever sees it, however often the desk tries to open the next wave.
func TestBadReleaseEndsWithTheCanaries(t *testing.T) {
	o := bigFleet(t)
	tried := map[string]bool{}
	o.ok("rollout", "start", "2", "--canary", "one,two", "--soak", "24h")
	for range 4 * 7 {
		o.poll("2", tried)
		o.clock = o.clock.Add(6 * time.Hour)
		o.refused([]string{"stays closed", "canary one: runs \"1\"", "canary two: runs \"1\""}, "rollout", "next")
	}
	if diff := cmp.Diff(map[string]bool{"one": true, "two": true}, tried); diff != "" {
		t.Errorf("nodes that tried it: -want +got\n%s", diff)
	}
	if got := o.decision(); got.Sequence != 1 || len(o.running("1")) != fleetSize {
		t.Errorf("decision %+v; release 1 runs on %d", got, len(o.running("1")))
	}
}
