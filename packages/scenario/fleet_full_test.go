//go:build vm && full

package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/desk"
	"micromirror/packages/httpd/status"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// newcomer is somebody who begins with an empty folder and types commands.
type newcomer struct {
	t                 *testing.T
	dir, fleet, trees string
	updates           string // URL of the update repository, as a node sees it
	upstream          *demo.Server
}

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	n := &newcomer{t: t, dir: t.TempDir()}
	n.fleet = filepath.Join(n.dir, "fleet")
	n.trees, n.upstream = upstream(t, 1<<20)
	web := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(n.fleet, "repository"))))
	t.Cleanup(web.Close)
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	n.updates = "http://10.0.2.2:" + u.Port() + "/"
	return n
}

// types runs mirrorctl, and notes how long it took.
func (n *newcomer) types(args ...string) string {
	n.t.Helper()
	var out, said bytes.Buffer
	begin := time.Now()
	c := desk.Command()
	c.SetArgs(append(args, "--fleet", n.fleet))
	c.SetOut(&out)
	c.SetErr(&said)
	if err := c.ExecuteContext(n.t.Context()); err != nil {
		n.t.Fatalf("mirrorctl %s: %v\n%s", strings.Join(args, " "), err, said.String())
	}
	n.t.Logf("%6.1f s mirrorctl %s", time.Since(begin).Seconds(), strings.Join(args, " "))
	return out.String()
}

// edits changes a file of the fleet as with an editor.
func (n *newcomer) edits(name string, edit func(map[string]any)) {
	n.t.Helper()
	file, v := filepath.Join(n.fleet, name), map[string]any{}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err == nil {
		edit(v)
		text, err = json.MarshalIndent(v, "", "  ")
	}
	if err == nil {
		err = os.WriteFile(file, text, 0o644)
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// begins makes the fleet with the demo's projects and three nodes.
func (n *newcomer) begins() {
	n.t.Helper()
	n.types("init", "--domain", "mirror.example", "--contact", "noc@mirror.example", "--upstream", fmt.Sprintf("10.0.2.2:%d", n.upstream.Port()),
		"--update-url", n.updates, "--manage-key", "", "--allow", "")
	var example map[string]any
	rel, err := Faults.Dir()
	if err != nil {
		n.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(rel, "..", "..", "images", "demo", "fleet.json"))
	if err == nil {
		err = json.Unmarshal(text, &example)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.edits("fleet.json", func(f map[string]any) { f["projects"], f["ntp"] = example["projects"], []string{} })
	for name, flags := range map[string][]string{
		"albuquerque": {"--addresses", "10.0.2.15/24", "--gateways", "10.0.2.2", "--dns", "10.0.2.3", "--projects", demo.RPM},
		"berlin":      {"--addresses", "dhcp", "--projects", demo.Debian},
		"carrizo":     {"--addresses", "10.0.2.16/24", "--gateways", "10.0.2.2", "--dns", "10.0.2.3", "--projects", demo.RPM + "," + demo.Debian},
	} {
		n.types(append([]string{"node", "add", name, "--hardware", "qemu", "--sponsor", "Sponsor of " + name, "--sponsor-url", "https://s.example/",
			"--disk", "8GB", "--location", "eu/de//berlin"}, flags...)...)
	}
	n.types("check")
}

// writes writes a node's disk with a release.
func (n *newcomer) writes(node, release, machine string) string {
	n.t.Helper()
	disk := filepath.Join(n.dir, machine+".img")
	n.types("flash", "--node", node, "--disk", disk, "--size", "4G", "--any-size", "--yes", node, "--release", release)
	return disk
}

// boots does so and switches the machine on.
func (n *newcomer) boots(node, release, machine string) *vm.VM {
	n.t.Helper()
	return vm.Start(n.t, vm.Config{Image: n.writes(node, release, machine), Timeout: orderLimit})
}

// stage is a part of the story; its machines go when it ends.
func (n *newcomer) stage(name string, f func(n *newcomer)) {
	n.t.Helper()
	if !n.t.Run(name, func(t *testing.T) { part := *n; part.t = t; f(&part) }) {
		n.t.FailNow() // what follows builds on it
	}
}

// The whole life of a small fleet, from an empty folder: three nodes, of which one
// takes a release and moves to another address, one dies and is replaced, and one
// is retired.
func TestFleetFromAnEmptyFolder(t *testing.T) {
	n := newNewcomer(t)
	n.begins()
	f := &field{t: t, dir: n.dir}
	born, _ := f.variant(0, hasty, nil)
	next, version := f.variant(1, hasty, nil)
	n.types("release", "--release", born)
	n.types("config", "publish")
	n.stage("a release, another address", func(n *newcomer) { n.movesOn(born, next, version) })
	n.stage("a dead disk", func(n *newcomer) { n.replaces(born, next) })
	n.stage("a sponsor leaves", func(n *newcomer) { n.retires(born) })
}

// movesOn: the first node takes a release as the only canary; then its host
// renumbers, and the file goes out before the day.
func (n *newcomer) movesOn(born, next, version string) {
	f := &field{t: n.t, dir: n.dir, m: n.boots("albuquerque", born, "albuquerque")}
	f.m.Wait(`mm netd: address 10\.0\.2\.15/24 on wan0`)
	f.m.Wait(`mm updated: slot a healthy, re-armed`)
	n.has(f.m, demo.RPM, "albuquerque")
	n.types("release", "--release", next)
	n.types("rollout", "start", version, "--canary", "albuquerque")
	f.takes(version, slot.B)

	n.edits("nodes/albuquerque.json", func(v map[string]any) { v["addresses"] = []string{"10.0.2.77/24"} })
	n.types("check")
	n.types("config", "publish")
	f.m.Wait(`mm updated: configuration [0-9a-f]{8} on trial`)
	f.m.Wait(`mm netd: address 10\.0\.2\.77/24 on wan0`)
	f.m.Wait(`mm updated: configuration [0-9a-f]{8} is good`)
}

// replaces: the second node's disk dies; a new one takes over, with another key.
func (n *newcomer) replaces(born, next string) {
	old := ""
	n.stage("the first disk", func(n *newcomer) {
		m := n.boots("berlin", born, "berlin")
		m.Wait(`mm updated: slot a healthy, re-armed`)
		old = n.key("berlin")
		m.PowerCut()
	})
	m := n.boots("berlin", next, "berlin-again")
	m.Wait(`mm updated: slot a healthy, re-armed`)
	n.has(m, demo.Debian, "berlin")
	if n.key("berlin") == old {
		n.t.Error("the replaced node has the old one's key")
	}
}

// retires: the third node's sponsor leaves. It serves until it is switched off.
func (n *newcomer) retires(born string) {
	m := n.boots("carrizo", born, "carrizo")
	m.Wait(`mm netd: address 10\.0\.2\.16/24 on wan0`)
	m.Wait(`mm updated: slot a healthy, re-armed`)
	if text := n.types("register", "carrizo"); !strings.Contains(text, demo.RPM) || !strings.Contains(text, demo.Debian) {
		n.t.Errorf("what to tell the projects:\n%s", text)
	}
	n.types("node", "remove", "carrizo", "--yes", "carrizo")
	n.types("config", "publish")
	if list := n.types("node", "list"); strings.Contains(list, "carrizo") || strings.Count(list, "\n") != 3 {
		n.t.Errorf("the nodes that are left:\n%s", list)
	}
	m.Shutdown()
}

// has waits until a node serves a project as upstream has it, under its sponsor's
// name.
func (n *newcomer) has(m *vm.VM, module, node string) {
	n.t.Helper()
	project(n.t, m, module, "in step", func(p status.Project) bool { return p.Status == "idle" })
	differences, err := demo.DiffHTTP(n.t.Context(), demo.Tree(n.trees, module), m.URL("/"+module+"/"))
	report(n.t, differences, err)
	if page := m.Get("/"); !bytes.Contains(page, []byte("Sponsor of "+node)) {
		n.t.Errorf("the front page does not name %s's sponsor", node)
	}
}

// key is to what the node's secrets are encrypted.
func (n *newcomer) key(node string) string {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.fleet, "nodes", node+".pub"))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(text)
}
