package desk

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/repository"
)

func TestKeyCommands(t *testing.T) {
	o := newOffice(t)
	o.refused([]string{"already"}, "keys", "init")
	before := as[[]repository.Role](o, "keys", "show")
	if len(before) != 4 || len(before[0].Keys) != 3 {
		t.Fatalf("roles = %+v", before)
	}
	for _, role := range repository.Roles() {
		if out := o.ok("keys", "rotate", role); !strings.Contains(out, role+": replaced") {
			t.Errorf("output = %s", out)
		}
	}
	after := as[[]repository.Role](o, "keys", "show")
	for i, role := range after {
		if role.Keys[0].ID == before[i].Keys[0].ID {
			t.Errorf("%s has its old key", role.Name)
		}
	}
	stick := t.TempDir()
	for _, k := range after[0].Keys {
		if err := os.Rename(k.File, filepath.Join(stick, filepath.Base(k.File))); err != nil {
			t.Fatal(err)
		}
	}
	if out := o.ok("keys", "show"); strings.Count(out, "not here") != 3 || !strings.Contains(out, "root (2 of 3)") {
		t.Errorf("output = %s", out)
	}
	o.refused([]string{"2 signatures", "--keys"}, "keys", "rotate", "timestamp")
	o.ok("keys", "rotate", "root", "--key", after[0].Keys[0].ID[:8], "--keys", stick)
	o.refused([]string{"rot", "root, targets"}, "keys", "rotate", "rot")
}

func TestMistypedFleet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistyped")
	for _, args := range [][]string{
		{"keys", "init"}, {"keys", "show"}, {"keys", "rotate", "timestamp"}, {"renew"}, {"config", "publish"},
		{"rollout", "start", "1", "--canary", "one"}, {"rollout", "next"}, {"rollout", "status"}, {"rollout", "halt"}, {"rollback", "1"},
	} {
		if _, err := run(t, append(args, "--fleet", dir)...); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("mirrorctl %s: error = %v, want the folder in it", strings.Join(args, " "), err)
		}
		if exists(t, dir) {
			t.Fatalf("mirrorctl %s made the folder", strings.Join(args, " "))
		}
	}
}

func TestPassphrases(t *testing.T) {
	o := newOffice(t)
	fresh := func() {
		for _, name := range []string{"keys", "repository", "root.json"} {
			if err := os.RemoveAll(filepath.Join(o.fleet, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fresh()
	o.typed = []string{"a", "b"}
	o.refused([]string{"differ"}, "keys", "init", "--passphrase")
	fresh()
	o.typed = []string{"one", "one"}
	o.ok("keys", "init", "--passphrase")
	o.refused([]string{"targets-", "no terminal"}, "config", "publish")
	o.typed = []string{"two"}
	o.refused([]string{"targets-", "wrong passphrase"}, "config", "publish")
	o.typed = []string{"one"}
	o.ok("config", "publish")
	o.env["MM_PASSPHRASE"] = "one"
	o.release("1", 0)
	o.env = map[string]string{}
	o.ok("renew")
}

func TestReleaseCommand(t *testing.T) {
	o := newOffice(t)
	a := as[releaseAnswer](o, "release", "--build", "--source", "7")
	if a.Version != "7" || !a.Added {
		t.Errorf("built = %+v", a)
	}
	dir := testRelease(t, "8", o.clock)
	for _, want := range []string{"8: published", "8: was published already"} {
		if out := o.ok("release", "--release", dir); !strings.Contains(out, want) {
			t.Errorf("output = %s, want %s", out, want)
		}
	}
	o.ok("rollout", "start", "8", "--canary", "one")
	o.refused([]string{"in force"}, "release", "remove", "8")
	if out := o.ok("release", "remove", "7"); out != "7: removed\n" {
		t.Errorf("output = %s", out)
	}
	o.refused([]string{"release.json", "make image"}, "release", "--release", t.TempDir())
	write(t, filepath.Join(dir, "vmlinuz"), "damaged")
	o.refused([]string{"vmlinuz"}, "release", "--release", dir)
}

func TestRenewCommand(t *testing.T) {
	o := newOffice(t)
	o.clock = o.clock.AddDate(0, 0, 10)
	if out := o.ok("renew"); !strings.Contains(out, "timestamp good until 2027-01-01 12:00 UTC") || o.stderr.Len() > 0 {
		t.Errorf("output = %s%s", out, o.stderr.String())
	}
	if out := o.ok("renew", "--quiet"); out != "" {
		t.Errorf("quiet: %s", out)
	}
	o.clock = o.clock.AddDate(0, 0, 300)
	if out := o.ok("renew", "--quiet"); out != "" || !strings.Contains(o.stderr.String(), "targets is good only until 2027-11-22") {
		t.Errorf("output = %s%s", out, o.stderr.String())
	}
	o.ok("renew", "--quiet", "--role", "targets")
	if o.stderr.Len() > 0 {
		t.Errorf("after renewing targets: %s", o.stderr.String())
	}
	o.refused([]string{`"rot"`}, "renew", "--role", "rot")
	o.refused([]string{"no update repository", "keys init"}, "renew", "--repository", t.TempDir())
}

func TestConfigPublish(t *testing.T) {
	o := newOffice(t)
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	secret := `{"projects": {"gimp": {"upstream": {"user": "u", "password": "hush"}}}}`
	write(t, filepath.Join(o.fleet, "secrets", "two.json"), secret)
	o.refused([]string{"two.json cannot be encrypted", "two.pub", "mirrorctl image"}, "config", "publish")
	write(t, filepath.Join(o.fleet, "nodes", "two.pub"), "age1nonsense\n")
	o.refused([]string{"two.pub", "restore"}, "config", "publish")
	write(t, filepath.Join(o.fleet, "nodes", "two.pub"), key.Recipient().String()+"\n")

	a := as[configAnswer](o, "config", "publish")
	if diff := cmp.Diff(configAnswer{true, []configNode{{"one", false}, {"three", false}, {"two", true}}}, a); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	r := repository.At(o.fleet)
	targets, err := r.Targets()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"config/fleet.json", "config/nodes/one.json", "config/nodes/three.json", "config/nodes/two.age", "config/nodes/two.json"}
	if diff := cmp.Diff(want, targets); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	sealed, err := r.Target("config/nodes/two.age")
	if err != nil || bytes.Contains(sealed, []byte("hush")) {
		t.Errorf("in the clear: %s, %v", sealed, err)
	}
	plain, err := age.Decrypt(bytes.NewReader(sealed), key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(plain); err != nil || string(got) != secret {
		t.Errorf("the node reads %s, %v", got, err)
	}
}

func TestConfigMistakesPublishNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		file, content string
		want          []string
	}{
		"a node":   {"nodes/one.json", `{"name": "one"}`, []string{"mistakes"}},
		"fleet":    {"fleet.json", `{`, []string{"mistakes"}},
		"secret":   {"secrets/one.json", `{"projets": {}}`, []string{"mistakes"}},
		"password": {"fleet.json", `{"domain": "m.example", "contact": "a@m.example", "upstream": "m.example", "projects": {"gimp": {"upstream": {"user": "u", "password": "hush"}}}}`, []string{"fleet.json: projects.gimp.upstream.password", "secrets/NODE.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			write(t, filepath.Join(o.fleet, tt.file), tt.content)
			o.refused(tt.want, "config", "publish")
			if targets, err := repository.At(o.fleet).Targets(); err != nil || len(targets) > 0 {
				t.Errorf("published: %v, %v", targets, err)
			}
		})
	}
}

// identityOf reads what an image makes of a node.
func identityOf(t *testing.T, img string, size int64) identity.Set {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := disk.Read(f, size)
	if err != nil {
		t.Fatal(err)
	}
	p := table.Part(disk.Identity)
	set, err := identity.Read(io.NewSectionReader(f, p.Offset(), p.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestImageCarriesRootAndKey(t *testing.T) {
	o := newOffice(t)
	write(t, filepath.Join(o.fleet, "secrets", "one.json"), `{"contact": "x@m.example"}`)
	dir, out := bootable(t, testRelease(t, "1", o.clock)), filepath.Join(t.TempDir(), "one.img")
	image := func() (identity.Set, string) {
		t.Helper()
		o.ok("image", "--node", "one", "--release", dir, "--size", "4G", "--out", out)
		public, err := os.ReadFile(filepath.Join(o.fleet, "nodes", "one.pub"))
		if err != nil {
			t.Fatal(err)
		}
		return identityOf(t, out, 4<<30), strings.TrimSpace(string(public))
	}
	set, public := image()
	root, err := os.ReadFile(filepath.Join(o.fleet, "root.json"))
	if err != nil || !bytes.Equal(root, set["root.json"]) {
		t.Errorf("root.json differs from the fleet's: %v", err)
	}
	key, err := age.ParseX25519Identity(strings.TrimSpace(string(set["age.key"])))
	if err != nil || key.Recipient().String() != public {
		t.Errorf("key %v, %v; public half in the fleet folder %s", key, err, public)
	}
	if string(set["secret.json"]) != `{"contact": "x@m.example"}` || len(set) != 5 {
		t.Errorf("identity = %q", set)
	}
	if _, again := image(); again == public {
		t.Error("two disks have the same key")
	}
	if _, err := o.run("image", "--node", "two", "--release", t.TempDir(), "--out", out); err == nil || exists(t, filepath.Join(o.fleet, "nodes", "two.pub")) {
		t.Errorf("an image that was not written: %v; or its key is there", err)
	}
	write(t, filepath.Join(o.fleet, "root.json"), "{}")
	o.refused([]string{"root.json"}, "image", "--node", "one", "--release", dir, "--out", out)
}

func TestImageWithoutRepository(t *testing.T) {
	dir, out := fleet(t), filepath.Join(t.TempDir(), "one.img")
	rel := bootable(t, testRelease(t, "1", newOffice(t).clock))
	if _, err := run(t, "image", "--fleet", dir, "--node", "one", "--release", rel, "--size", "4G", "--out", out); err != nil {
		t.Fatal(err)
	}
	if set := identityOf(t, out, 4<<30); len(set) != 2 {
		t.Errorf("identity = %q", set)
	}
	if exists(t, filepath.Join(dir, "nodes", "one.pub")) {
		t.Error("a key without use")
	}
}
