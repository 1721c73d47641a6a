package update

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"micromirror/packages/node"
	"micromirror/packages/repository"
)

// config publishes a fleet file and the node files of some nodes.
func (f *fleet) config(fleet string, nodes ...string) {
	f.t.Helper()
	files := map[string][]byte{repository.FleetTarget: []byte(fleet)}
	for _, name := range nodes {
		files[repository.NodeTarget(name)] = []byte(nodeFile(name))
	}
	if _, err := f.repo.SetConfig(f.t.Context(), files); err != nil {
		f.t.Fatal(err)
	}
}

func TestConfigurationOverTheAir(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	f.config(f.file("new@example.net"), "one", "two")
	b.settle()
	if got := b.read("fleet.json"); got != f.file("new@example.net") || b.read("fleet.json.old") != f.file("noc@example.net") {
		t.Errorf("fleet.json = %s", got)
	}
	if b.restarts != 1 || b.boots != 1 || b.saved().Config.Applied == "" {
		t.Errorf("daemons started again %d times, %d boots, state %+v", b.restarts, b.boots, b.saved())
	}
	if !strings.Contains(b.console.String(), " is good\n") {
		t.Errorf("console:\n%s", b.console.String())
	}
	b.settle()
	if b.restarts != 1 {
		t.Error("the same configuration was tried again")
	}
}

func TestConfigurationThatCostsTheGatewayComesBack(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	f.config(f.file("unplugged@example.net"), "one")
	b.settle()
	if got := b.read("fleet.json"); got != f.file("noc@example.net") {
		t.Errorf("fleet.json = %s", got)
	}
	if b.restarts != 2 || !strings.Contains(b.problem(), "failed here: the node did not get as well as it was: gateway is lost: no answer") {
		t.Errorf("daemons started again %d times, problem %q", b.restarts, b.problem())
	}
	if !strings.Contains(b.console.String(), "gateway is lost: no answer, returning to the previous one") {
		t.Errorf("console:\n%s", b.console.String())
	}
	// The next one is tried, and releases are taken meanwhile.
	f.publish("2026.11.02")
	b.settle()
	b.runs("2026.11.02")
	f.config(f.file("new@example.net"), "one")
	b.settle()
	if got := b.read("fleet.json"); got != f.file("new@example.net") {
		t.Errorf("fleet.json = %s", got)
	}
}

// The node is well, since the network fell back to what worked before.
func TestConfigurationThatIsNotInForceComesBack(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	before := nodeFile("one")
	b.works = func(config []byte) error {
		if string(config) == before {
			return nil
		}
		return errors.New("no gateway of the node file answers")
	}
	b.boot()
	node := strings.Replace(before, `"dhcp"`, `"192.0.2.9/24"`, 1)
	if _, err := f.repo.SetConfig(t.Context(), map[string][]byte{repository.NodeTarget("one"): []byte(node)}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if got := b.read("node.json"); got != before {
		t.Errorf("node.json = %s", got)
	}
	if want := "did not get as well as it was: no gateway of the node file answers"; !strings.Contains(b.problem(), want) {
		t.Errorf("problem %q, want %q", b.problem(), want)
	}
}

func TestConfigurationThatIsRefused(t *testing.T) {
	f := newFleet(t)
	for name, c := range map[string]struct{ fleet, node, want string }{
		"not JSON":         {"{", nodeFile("one"), "fleet.json:1"},
		"wrong value":      {f.file("nobody"), nodeFile("one"), `contact: "nobody" is neither an e-mail address nor a URL`},
		"another node":     {f.file("noc@example.net"), nodeFile("two"), `the file is for "two", this node is "one"`},
		"no update server": {strings.Replace(f.file("noc@example.net"), f.url, "http://127.0.0.1:1/", 1), nodeFile("one"), "update.urls: http://127.0.0.1:1/"},
	} {
		b := f.newBox("one", "2026.11.01")
		b.boot()
		if _, err := f.repo.SetConfig(t.Context(), map[string][]byte{"config/fleet.json": []byte(c.fleet), "config/nodes/one.json": []byte(c.node)}); err != nil {
			t.Fatal(err)
		}
		b.settle()
		if b.restarts != 0 || b.read("fleet.json") != f.file("noc@example.net") || !strings.Contains(b.problem(), c.want) {
			t.Errorf("%s: problem %q, fleet.json = %s", name, b.problem(), b.read("fleet.json"))
		}
	}
}

// What a newer desk wrote is kept, and does not stand in the way.
func TestConfigurationWithUnknownField(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	want := strings.Replace(f.file("noc@example.net"), "{", `{"later":[1],`, 1)
	f.config(want, "one")
	b.settle()
	if got := b.read("fleet.json"); got != want {
		t.Errorf("fleet.json = %s, problem %q", got, b.problem())
	}
}

// A power cut during the trial returns to the previous files, three times.
func TestPowerCutDuringConfiguration(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	cuts := 0
	o := &once{point: "config-trial", kind: "kill"}
	b.fault = o.at
	b.ends = func(kill func()) { o.kill = kill }
	b.boot()
	f.config(f.file("new@example.net"), "one")
	for range 20 {
		o.mu.Lock()
		o.fired = false
		o.mu.Unlock()
		before := b.boots
		b.step()
		if b.boots > before {
			cuts++
			if got := b.read("fleet.json"); got != f.file("noc@example.net") {
				t.Fatalf("after %d cuts fleet.json = %s", cuts, got)
			}
		}
	}
	if cuts != maxTrials || !strings.Contains(b.problem(), "failed here: the node went down during its trial") {
		t.Errorf("%d trials, problem %q", cuts, b.problem())
	}
}

func TestSecrets(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	encrypt := func(text string) []byte {
		var b bytes.Buffer
		w, err := age.Encrypt(&b, id.Recipient())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	b.boot()
	if _, err := f.repo.SetConfig(t.Context(), map[string][]byte{repository.SecretTarget("one"): encrypt(`{"token":"x"}`)}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if b.read(node.SecretFile) != "" || !strings.Contains(b.problem(), "the node's key") {
		t.Errorf("without a key: problem %q", b.problem())
	}
	b.write(node.KeyFile, id.String()+"\n")
	b.settle()
	st, err := os.Stat(filepath.Join(b.nodeDir(), node.SecretFile))
	if b.read(node.SecretFile) != `{"token":"x"}` || err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("secret.json = %s, %v, problem %q", b.read(node.SecretFile), err, b.problem())
	}
	if _, err := f.repo.SetConfig(t.Context(), map[string][]byte{repository.SecretTarget("one"): encrypt(`token`)}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if b.read(node.SecretFile) != `{"token":"x"}` || !strings.Contains(b.problem(), "is not JSON") {
		t.Errorf("secret.json = %s, problem %q", b.read(node.SecretFile), b.problem())
	}
}
