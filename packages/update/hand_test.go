package update

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"

	"micromirror/packages/repository"
	"micromirror/packages/stick"
)

// byStick is what mirrorctl puts on a stick for a node.
func (f *fleet) byStick(name string) map[string][]byte {
	f.t.Helper()
	files, err := stick.Collect(os.DirFS(f.repo.Dir), repository.NodeTarget(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return files
}

// settleIn publishes a node file with an address, and the fleet's.
func (f *fleet) settleIn(name, address string) {
	f.t.Helper()
	_, err := f.repo.SetConfig(f.t.Context(), map[string][]byte{
		repository.FleetTarget: []byte(f.file("noc@example.net")), repository.NodeTarget(name): []byte(nodeWith(name, address)),
		repository.NodeTarget("other"): []byte(nodeFile("other")),
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func nodeWith(name, address string) string {
	return strings.Replace(nodeFile(name), "dhcp", address+`/24"],"gateways":["192.0.2.254`, 1)
}

// lost is a node with a wrong address: no server can be reached until it has the
// right one.
func (f *fleet) lost() *box {
	b := f.newBox("one", "2026.11.01")
	b.write("node.json", nodeWith("one", "192.0.2.66"))
	b.synced = false
	f.attack(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	b.works = func(config []byte) error {
		if bytes.Contains(config, []byte("192.0.2.7/")) {
			return nil
		}
		return errors.New("gateway 192.0.2.254 does not answer")
	}
	b.boot()
	return b
}

// The update servers are not asked: only the network has to work. Afterwards the
// updater goes on as ever.
func TestNodeFileByHand(t *testing.T) {
	f := newFleet(t)
	f.settleIn("one", "192.0.2.7")
	b := f.lost()
	files := f.byStick("one")
	if err := b.u.take(b.ctx, files); !errors.Is(err, ErrRestart) {
		t.Fatalf("error %v, want the program to start again", err)
	}
	if got, want := b.read("node.json"), nodeWith("one", "192.0.2.7"); got != want || b.read("node.json.old") == "" {
		t.Errorf("node.json = %s", got)
	}
	if b.restarts != 1 || !strings.Contains(b.console.String(), " is good\n") {
		t.Errorf("daemons started again %d times, console:\n%s", b.restarts, b.console.String())
	}
	b.start()
	if err := b.u.take(b.ctx, files); err == nil || !strings.Contains(err.Error(), "has already") {
		t.Errorf("a second time: %v", err)
	}
	f.attack(nil)
	b.settle()
	if b.problem() != "" {
		t.Errorf("problem %q", b.problem())
	}
}

func TestNodeFileByHandThatDoesNotHelpComesBack(t *testing.T) {
	f := newFleet(t)
	f.settleIn("one", "192.0.2.8")
	b := f.lost()
	before := b.read("node.json")
	for try := range 2 { // somebody may have put the cable right meanwhile
		err := b.u.take(b.ctx, f.byStick("one"))
		if err == nil || !strings.Contains(err.Error(), "gateway 192.0.2.254 does not answer") {
			t.Errorf("try %d: error %v", try, err)
		}
		if got := b.read("node.json"); got != before || b.restarts != 2*(try+1) {
			t.Errorf("try %d: node.json = %s, daemons started again %d times", try, got, b.restarts)
		}
	}
}

// A power cut while a stick is tried leaves the file from before.
func TestPowerCutWhileAStickIsTried(t *testing.T) {
	f := newFleet(t)
	f.settleIn("one", "192.0.2.7")
	b := f.lost()
	before := b.read("node.json")
	ctx, cut := context.WithCancel(b.ctx)
	b.u.Fault = func(_ context.Context, point string) error {
		if point == "config-trial" {
			cut()
			return context.Canceled
		}
		return nil
	}
	if err := b.u.take(ctx, f.byStick("one")); errors.Is(err, ErrRestart) {
		t.Fatal("accepted")
	}
	b.boot()
	if got := b.read("node.json"); got != before {
		t.Errorf("node.json = %s", got)
	}
}

func TestNodeFileByHandThatIsRefused(t *testing.T) {
	f := newFleet(t)
	f.settleIn("one", "192.0.2.9")
	older := f.byStick("one")
	f.settleIn("one", "192.0.2.7")
	foreign := newFleet(t)
	foreign.settleIn("one", "192.0.2.7")

	altered := f.byStick("one")
	for name, b := range altered {
		if strings.Contains(name, "nodes/") {
			altered[name] = bytes.Replace(b, []byte("192.0.2.7"), []byte("192.0.2.6"), 1)
		}
	}
	long := maps.Clone(older)
	long["metadata/timestamp.json"] = make([]byte, 1<<20)
	b := f.lost()
	// A good one that does not help: what it shows to be newest is remembered.
	b.works = func([]byte) error { return errors.New("no answer") }
	if err := b.u.take(b.ctx, f.byStick("one")); err == nil {
		t.Fatal("accepted without an answer from the gateway")
	}
	before, restarts := b.read("node.json"), b.restarts
	for name, c := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"older":           {older, "older than what was seen before"},
		"another fleet's": {foreign.byStick("one"), "not signed by the keys that this node trusts"},
		"altered":         {altered, "read config/nodes/one.json"},
		"another node's":  {f.byStick("other"), "read config/nodes/one.json"},
		"huge":            {long, "timestamp.json"},
		"nothing":         {nil, "timestamp.json"},
	} {
		err := b.u.take(b.ctx, c.files)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if b.read("node.json") != before || b.restarts != restarts {
			t.Errorf("%s: something was changed", name)
		}
	}
}

// A release on trial takes nothing; one that was found good takes it from Run.
func TestHandWaitsForTheBless(t *testing.T) {
	f := newFleet(t)
	f.settleIn("one", "192.0.2.7")
	b := f.lost()
	b.u.blessed = false
	if b.u.ready() != nil {
		t.Error("a release on trial takes a configuration")
	}
	b.u.blessed = true
	ended := make(chan error, 1)
	go func() { ended <- b.u.Run(b.ctx) }()
	if err := b.u.Hand(b.ctx, f.byStick("one")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrRestart) {
		t.Errorf("Run: %v", err)
	}
}
