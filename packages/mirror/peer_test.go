package mirror

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/project"
)

// peerWorld is a world whose upstream is rsync's own daemon.
func peerWorld(t testing.TB, p project.Project, entries ...string) (*world, *mirrortest.Peer) {
	t.Helper()
	w := newWorld(t, entries...)
	peer := mirrortest.StartPeer(t, w.upstream.Dir)
	p.Upstream.Host, p.Upstream.Module, p.Rate = peer.Addr, "m", 1<<30
	w.job.Project = project.Complete("demo", p)
	w.job.Dial = RsyncDialer(w.job.Project, nil, 20*time.Second, w.job.Log)
	return w, peer
}

// TestSameTreeAsRsync lets rsync itself mirror an upstream of each project's kind
// with the recipe's options, and compares, for every project of the catalogue.
func TestSameTreeAsRsync(t *testing.T) {
	odd := append([]string{
		"last-updated: now", "stable/a/b: kde", "unstable/c: no", ".~tmp~/part: partial", "stable/.~tmp~/part: partial",
		"0711 closed/x: y", "pool/sibling -> ../../other/x", "pool/inner -> ../stable/a", "repo/x.apk: x", "repo/entry.jar: e",
	}, archive...)
	kinds := map[string]string{}
	for name, p := range project.Catalogue() {
		if kinds[p.Kind] == "" {
			kinds[p.Kind] = mirrortest.TempDir(t)
			mirrortest.Archive(t, kinds[p.Kind], p.Kind)
		}
		t.Run(name, func(t *testing.T) {
			w, peer := peerWorld(t, p, odd...)
			copyTree(t, kinds[p.Kind], w.upstream.Dir)
			w.mustRun()
			want := filepath.Join(mirrortest.TempDir(t), "want")
			rsync := recipe(t, p, "rsync://"+peer.Addr+"/m/", want)
			rsync()
			if diff := cmp.Diff(mirrortest.Describe(t, want, true), mirrortest.Describe(t, w.job.Tree, true)); diff != "" {
				t.Errorf("first run, -rsync +ours\n%s", diff)
			}
			w.change("pool/a/a_1.deb: changed "+strings.Repeat("x", 5000), "-stable/a", "stable/z: z", "-10/Everything/x86_64/Packages", "0644 private: for all now",
				"repo/y.apk: y", "nonfree/el/y.rpm: y", "tumbleweed/repo/y.rpm: y", "-images/x.iso")
			w.job.Tolerate = true // of what was taken out here the indexes still tell
			w.mustRun()
			rsync()
			if diff := cmp.Diff(mirrortest.Describe(t, want, true), mirrortest.Describe(t, w.job.Tree, true)); diff != "" {
				t.Errorf("second run, -rsync +ours\n%s", diff)
			}
			if r := w.mustRun(); r.Published {
				t.Error("third run published something")
			}
		})
	}
}

// copyTree adds a tree to another.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	mirrortest.Settle(t, to)
}

// recipe returns what mirrors a project with rsync as its recipe says.
func recipe(t *testing.T, p project.Project, url, want string) func() {
	base := []string{"-avSH", "--filter=R .~tmp~", "--fuzzy", "--delay-updates", "--bwlimit=25M", "--timeout=600", "--exclude=.~tmp~/"}
	base = append(base, selections(t, p)...)
	all := slices.Concat(base, []string{"--delete-delay", "--delete-excluded"})
	passes := [][]string{all}
	switch p.Name {
	case "ubuntu", "raspbian", "debian":
		first := slices.Clone(base)
		for _, pattern := range []string{"Packages*", "Sources*", "Release*", "InRelease", "i18n/*", "ls-lR*"} {
			first = append(first, "--exclude="+pattern)
		}
		passes = [][]string{first, all}
	case "opensuse":
		passes = [][]string{append(slices.Clone(base), "--no-links"), all}
	}
	return func() {
		t.Helper()
		for _, args := range passes {
			if out, err := exec.Command("rsync", append(slices.Clone(args), url+p.Upstream.Path+"/", want+"/")...).CombinedOutput(); err != nil {
				t.Fatalf("rsync: %v\n%s", err, out)
			}
		}
	}
}

// selections are the options by which a recipe leaves something out, as its
// maintainers write them and not as the catalogue does.
func selections(t *testing.T, p project.Project) []string {
	t.Helper()
	folders := map[string]string{
		"epel-amd64":   "source armhfp aarch64 ppc64 ppc64le s390x testing playground next debug",
		"epel":         "source s390x playground debug",
		"fedora-amd64": "source armhfp aarch64 debug test testing Spins Kinoite Sericea Silverblue",
		"fedora":       "source debug",
	}
	if p.Name == "kdeftp-stable" {
		return []string{"--include=/last-updated", "--include=/stable/***", "--exclude=*"}
	}
	var options []string
	for _, folder := range strings.Fields(folders[p.Name]) {
		options = append(options, "--exclude="+folder+"/**")
	}
	if len(p.Filter) != len(options) {
		t.Errorf("the catalogue has filters %q that no recipe has", p.Filter)
	}
	if p.SafeLinks { // as in ftpsync
		options = append(options, "--safe-links")
	}
	return options
}

func TestSubtreeOfModule(t *testing.T) {
	w, _ := peerWorld(t, project.Project{Kind: "rpm", Upstream: project.Upstream{Path: "pool"}}, archive...)
	w.mustRun()
	want := mirrortest.Describe(t, filepath.Join(w.upstream.Dir, "pool"), true)
	if diff := cmp.Diff(want, mirrortest.Describe(t, w.job.Tree, true)); diff != "" {
		t.Errorf("-upstream +tree\n%s", diff)
	}
}

// TestResumeAtAnyByte cuts the connection at growing distances until a run
// completes: what arrived before must not be sent again.
func TestResumeAtAnyByte(t *testing.T) {
	w, peer := peerWorld(t, project.Project{Kind: "apt"}, archive...)
	data := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	w.change("pool/large: " + string(data))
	w.job.Attempts = 1
	const step = 400 << 10
	peer.Limit.Store(step)
	runs := 1
	for ; ; runs++ {
		_, err := w.run()
		if err == nil {
			break
		}
		if runs > 40 {
			t.Fatalf("no run completes: %v", err)
		}
		if runs%4 == 0 {
			peer.Limit.Add(step / 4) // block sums of the part that is there cost bytes too
		}
	}
	w.same()
	if runs < 3 {
		t.Errorf("%d runs: the connection was not cut", runs)
	}
}

func TestUpstreamInTrouble(t *testing.T) {
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, archive...)
	password := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(password, []byte("me:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := func(greeting string) string { return talker(t, greeting) }
	tests := []struct {
		name     string
		settings []string
		edit     func(u *project.Upstream)
		want     string
	}{
		{"module is gone", nil, func(u *project.Upstream) { u.Module = "nosuch" }, `has no module "nosuch", it is gone or renamed: correct upstream.module of project demo in fleet.json: log in`},
		{"module was renamed", nil, func(u *project.Upstream) { u.Module = "m-old" }, "in fleet.json (it has m)"},
		{"folder is gone", nil, func(u *project.Upstream) { u.Path = "dists/two" }, `has no folder "dists/two" in module "m"`},
		{"asks for a password", []string{"auth users = me", "secrets file = " + password}, nil, `asks for a password for module "m": set upstream.user`},
		{"wrong password", []string{"auth users = me", "secrets file = " + password}, func(u *project.Upstream) { u.User, u.Password = "me", "?" }, `does not accept user "me"`},
		{"full", []string{"max connections = -1"}, nil, "is full and is asked again later"},
		{"not for us", []string{"hosts deny = *"}, nil, "does not let this node's address in"},
		{"a web server", nil, func(u *project.Upstream) { u.Host = other("HTTP/1.1 400 Bad Request\r\n\r\n") }, `speaks another protocol than rsync: correct upstream.host of project demo`},
		{"a shell", nil, func(u *project.Upstream) { u.Host = other("SSH-2.0-OpenSSH_9\r\n") }, "SSH-2.0-OpenSSH_9"},
		{"silence", nil, func(u *project.Upstream) { u.Host = other("") }, "read greeting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, archive...)
			w.mustRun()
			peer := mirrortest.StartPeer(t, dir, tt.settings...)
			p := w.job.Project
			p.Upstream.Host, p.Upstream.Module = peer.Addr, "m"
			if tt.edit != nil {
				tt.edit(&p.Upstream)
			}
			w.job.Project = p
			w.job.Dial = RsyncDialer(p, nil, 20*time.Second, w.job.Log)
			_, err := w.run()
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error = %v, want one line that tells %q", err, tt.want)
			}
			w.same()
		})
	}
}

// talker is a server that greets everybody with the same words and hangs up.
func talker(t *testing.T, greeting string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, greeting)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// TestUpstreamChangesWhileListed is a run against an upstream that changes files
// between list and transfer.
func TestUpstreamChangesWhileListed(t *testing.T) {
	w, _ := peerWorld(t, project.Project{Kind: "apt"}, archive...)
	w.mustRun()
	w.change("pool/v: vanishes", "pool/g: grows", "dists/one/InRelease: names v and g")
	n := 0
	w.job.Fault = func(step string) error {
		if step == "fetch" {
			n++
			switch n {
			case 1:
				w.change("-pool/v", "pool/g: grows and grows", "dists/one/InRelease: names g only")
			case 2:
				w.change(fmt.Sprintf("pool/g: grows again %d", n))
			}
		}
		return nil
	}
	w.mustRun()
	w.same()
	if n < 2 {
		t.Errorf("%d transfers: nothing changed in between", n)
	}
}
