package desk

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/node"
	"micromirror/packages/release"
	"micromirror/packages/repository"
)

// storyNodes are the nodes of the story: their addresses and projects differ.
var storyNodes = map[string][2]string{
	"abq": {"192.0.2.10/24", "gimp"}, "bru": {"192.0.2.11/24", "videolan,gimp"}, "cph": {"192.0.2.12/24", "archlinux"},
}

// story is a fleet that somebody began in an empty folder.
type story struct {
	*office
	release string
	disks   map[string]string
}

// newStory has three nodes, some of which have a disk already.
func newStory(t *testing.T, disks ...string) *story {
	t.Helper()
	s := &story{office: emptyOffice(t), disks: map[string]string{}}
	s.release = s.build("1")
	s.ok("init", "--domain", "mirrors.example.net", "--contact", "noc@example.net", "--upstream", "rsync.example.net", "--update-url", "http://updates.example.net/")
	for name, n := range storyNodes {
		s.ok("node", "add", name, "--hardware", "qemu", "--sponsor", "Sponsor of "+name, "--sponsor-url", "https://s.example/",
			"--addresses", n[0], "--gateways", "192.0.2.1", "--dns", "192.0.2.53", "--projects", n[1], "--disk", "1TB", "--location", "eu/de//berlin", "--models", "../../hardware")
		s.nodes[name] = newFakeNode(s.office)
	}
	for _, name := range disks {
		s.disk(name)
	}
	s.ok("check")
	s.ok("release", "--release", s.release)
	s.ok("config", "publish")
	return s
}

// build makes a release that can be written to disks.
func (s *story) build(version string) string {
	s.t.Helper()
	dir := bootable(s.t, testRelease(s.t, version, s.clock))
	r, err := release.Read(dir)
	if err != nil || r.Version != version {
		s.t.Fatalf("release %s: %+v, %v", version, r, err)
	}
	return dir
}

// disk writes a node's disk, in place of the one that it has.
func (s *story) disk(name string) {
	s.t.Helper()
	s.disks[name] = filepath.Join(s.t.TempDir(), name+".img")
	s.ok("flash", "--node", name, "--disk", s.disks[name], "--size", "4G", "--any-size", "--yes", name, "--release", s.release)
}

// born is what makes a node itself, as its disk has it.
func (s *story) born(name string) identity.Set {
	s.t.Helper()
	return identityOf(s.t, s.disks[name], 4<<30)
}

// told is the node file as the node takes it over the air.
func (s *story) told(name string) map[string]any {
	s.t.Helper()
	text, err := repository.At(s.fleet).Target(repository.NodeTarget(name))
	if errors.Is(err, repository.ErrNoTarget) {
		return nil
	}
	v := map[string]any{}
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *story) edit(file string, edit func(map[string]any)) {
	s.t.Helper()
	file = filepath.Join(s.fleet, file)
	v := map[string]any{}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err == nil {
		edit(v)
		text, err = json.Marshal(v)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, file, string(text))
}

// opens says whether a node with that identity can read what was sealed for it.
func (s *story) opens(set identity.Set, name string) bool {
	s.t.Helper()
	sealed, err := repository.At(s.fleet).Target(repository.SecretTarget(name))
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := age.ParseX25519Identity(strings.TrimSpace(string(set[node.KeyFile])))
	if err != nil {
		s.t.Fatal(err)
	}
	plain, err := age.Decrypt(bytes.NewReader(sealed), key)
	if err != nil {
		return false
	}
	_, err = io.ReadAll(plain)
	return err == nil
}

// Three disks of one release: each has its own node's file, key and GUIDs, and all
// trust the same root.
func TestThreeNodesOfOneFleet(t *testing.T) {
	s := newStory(t, "abq", "bru", "cph")
	keys, guids := map[string]bool{}, map[disk.GUID]bool{}
	for name, n := range storyNodes {
		set := s.born(name)
		cfg, err := Fleet(s.fleet).Read(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(set[node.NodeFile], []byte(n[0])) || cfg.Node.Addresses[0].String() != n[0] || strings.Join(cfg.Node.Projects, ",") != n[1] {
			t.Errorf("%s: the disk has %s", name, set[node.NodeFile])
		}
		keys[string(set[node.KeyFile])] = true
		f, err := os.Open(s.disks[name])
		if err != nil {
			t.Fatal(err)
		}
		table, err := disk.Read(f, 4<<30)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		guids[table.Part(disk.ESP).GUID] = true
		if d := cmp.Diff(s.born("abq")[node.RootFile], set[node.RootFile]); d != "" {
			t.Errorf("%s trusts another root (-abq +%[1]s):\n%s", name, d)
		}
	}
	if len(keys) != 3 || len(guids) != 3 {
		t.Errorf("%d keys and %d disks of three nodes", len(keys), len(guids))
	}
}

// A release goes to the canary first, and no further while that is not well.
func TestFleetTakesARelease(t *testing.T) {
	s := newStory(t)
	s.ok("release", "--release", s.build("2"))
	s.ok("rollout", "start", "2", "--canary", "abq", "--soak", "24h")
	s.refused([]string{`canary abq: runs "old"`}, "rollout", "next")
	s.nodes["abq"].boot("2")
	s.clock = s.clock.Add(25 * time.Hour)
	s.ok("rollout", "next")
	if d := s.decision(); d.Version != "2" || d.Percent != 10 {
		t.Errorf("decision %+v", d)
	}
}

// A disk died: the new one has another key, so that the old disk opens nothing
// that is sealed from now on, and everything else as it was.
func TestReplacedAfterADeadDisk(t *testing.T) {
	s := newStory(t, "bru")
	write(t, filepath.Join(s.fleet, "secrets", "bru.json"), `{"contact": "secret@example.net"}`)
	s.ok("config", "publish")
	dead := s.born("bru")
	if !s.opens(dead, "bru") {
		t.Error("the first disk cannot open its secrets")
	}
	s.disk("bru")
	s.ok("config", "publish")
	now := s.born("bru")
	if s.opens(dead, "bru") || !s.opens(now, "bru") {
		t.Errorf("secrets: the dead disk opens them %v, the new one %v", s.opens(dead, "bru"), s.opens(now, "bru"))
	}
	if d := cmp.Diff(string(dead[node.NodeFile]), string(now[node.NodeFile])); d != "" {
		t.Errorf("the node's file (-dead +new):\n%s", d)
	}
}

// The host renumbers: the file goes out over the air, a mistake in it does not, and
// the addresses of another node are one.
func TestRenumberedOverTheAir(t *testing.T) {
	s := newStory(t)
	s.edit("nodes/abq.json", func(v map[string]any) {
		v["addresses"], v["gateways"] = []string{"198.51.100.4/24"}, []string{"192.0.2.1"}
	})
	s.refused([]string{"mistakes"}, "config", "publish")
	s.edit("nodes/abq.json", func(v map[string]any) { v["addresses"] = []string{"192.0.2.12/24"} })
	s.refused([]string{"mistakes"}, "check")
	s.edit("nodes/abq.json", func(v map[string]any) {
		v["addresses"], v["gateways"] = []string{"198.51.100.4/24"}, []string{"198.51.100.1"}
	})
	s.ok("check")
	s.ok("config", "publish")
	want := map[string][]any{"abq": {"198.51.100.4/24"}, "bru": {"192.0.2.11/24"}, "cph": {"192.0.2.12/24"}}
	got := map[string][]any{}
	for name := range storyNodes {
		got[name] = s.told(name)["addresses"].([]any)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("published addresses (-want +got):\n%s", d)
	}
}

// A sponsor leaves: nothing of the node is left, and its name and address are free
// again.
func TestRetired(t *testing.T) {
	s := newStory(t, "abq", "cph")
	s.ok("register", "cph")
	s.ok("node", "remove", "cph", "--yes", "cph")
	s.ok("config", "publish")
	delete(s.nodes, "cph")
	if v := s.told("cph"); v != nil {
		t.Errorf("still published: %v", v)
	}
	for _, file := range []string{"nodes/cph.json", "nodes/cph.pub"} {
		if exists(t, filepath.Join(s.fleet, file)) {
			t.Errorf("%s is left", file)
		}
	}
	if known, err := os.ReadFile(Fleet(s.fleet).KnownHosts()); err != nil || bytes.Contains(known, []byte("cph.")) || !bytes.Contains(known, []byte("abq.")) {
		t.Errorf("host keys: %s, %v", known, err)
	}
	rows := as[[]nodeRow](s.office, "node", "list")
	if len(rows) != 2 {
		t.Errorf("nodes: %+v", rows)
	}
	s.ok(addArgs("cph", "192.0.2.12/24")...)
	s.ok("check")
}
