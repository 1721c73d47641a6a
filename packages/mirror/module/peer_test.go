package module

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/node"
	"micromirror/packages/project"
	rsync "micromirror/packages/rsync/daemon"
)

// serving is a node that hosts Debian, in rsync's part only. It returns the web
// root, the states and the daemon's host and port.
func serving(t *testing.T) (root, states, host, port string) {
	t.Helper()
	config := &node.Config{Fleet: node.Fleet{Projects: project.Catalogue()}}
	config.Node.Projects = []string{"debian"}
	dir := mirrortest.TempDir(t)
	root, states = filepath.Join(dir, "mirror"), filepath.Join(dir, "state")
	mirrortest.Make(t, dir, "mirror/debian/", "state/")
	mirrortest.Archive(t, filepath.Join(root, "debian"), "apt")
	server, err := rsync.New(rsync.Config{Modules: List(config, root, states), Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(t.Context(), l)
	host, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return root, states, host, port
}

func client(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Whoever mirrors the node with rsync gets the tree, but for what is nobody's.
func TestMirroredOnByRsync(t *testing.T) {
	root, states, host, port := serving(t)
	tree, got := filepath.Join(root, "debian"), filepath.Join(t.TempDir(), "got")
	for _, change := range []string{"pool/first: one", "pool/second: two"} {
		mirrortest.Make(t, tree, change)
		s := status.State{Name: "debian", Status: status.Idle, Serving: true, LastChange: time.Now()}
		if err := s.Save(states); err != nil {
			t.Fatal(err)
		}
		client(t, "rsync", "-aH", "--delete", fmt.Sprintf("rsync://%s:%s/debian/", host, port), got+"/")
		want := mirrortest.Describe(t, tree, true)
		delete(want, "private")
		if diff := cmp.Diff(want, mirrortest.Describe(t, got, true)); diff != "" {
			t.Errorf("%s: -served +mirrored\n%s", change, diff)
		}
	}
}

// ftpsync mirrors on what it finds in two stages and adds traces of its own.
func TestMirroredOnByFtpsync(t *testing.T) {
	root, states, host, port := serving(t)
	tree, home := filepath.Join(root, "debian"), t.TempDir()
	got := filepath.Join(home, "got")
	mirrortest.Make(t, home, fmt.Sprintf(".config/ftpsync/ftpsync.conf: TO=%s/\nRSYNC_HOST=%s\nRSYNC_PATH=debian\nRSYNC_EXTRA=--port=%s\n"+
		"MIRRORNAME=downstream.example.net\nTRACEHOST=downstream.example.net\nMAILTO=nobody\n", got, host, port))
	t.Setenv("HOME", home)
	for _, change := range []string{"pool/third: three", "-pool/third"} {
		mirrortest.Make(t, tree, change, "dists/x/InRelease: after "+change)
		s := status.State{Name: "debian", Status: status.Idle, Serving: true, LastChange: time.Now()}
		if err := s.Save(states); err != nil {
			t.Fatal(err)
		}
		client(t, "ftpsync")
		want, mirrored := mirrortest.Describe(t, tree, false), mirrortest.Describe(t, got, false)
		delete(want, "private")
		own := 0
		for name := range mirrored {
			if want[name] == "" && filepath.Dir(name) == "project/trace" {
				delete(mirrored, name)
				own++
			}
		}
		if diff := cmp.Diff(want, mirrored); diff != "" || own < 3 {
			t.Errorf("%s: %d traces, -served +mirrored\n%s", change, own, diff)
		}
	}
}

// debmirror chooses by itself what of an archive it wants, and checks all sums.
func TestMirroredOnByDebmirror(t *testing.T) {
	root, _, host, port := serving(t)
	tree, dir := filepath.Join(root, "debian"), t.TempDir()
	config, got := filepath.Join(dir, "config"), filepath.Join(dir, "got")
	// It is told not to check signatures, yet insists on the file.
	mirrortest.Make(t, tree, "dists/x/Release.gpg: none")
	if err := os.WriteFile(config, []byte("1;\n"), 0o600); err != nil { // it is Perl
		t.Fatal(err)
	}
	client(t, "debmirror", "--method=rsync", "--host="+host, "--root=:debian", "--rsync-options=-aIL --partial --port="+port,
		"--dist=x", "--section=main", "--arch=amd64", "--nosource", "--no-check-gpg", "--rsync-extra=none", "--diff=none", "--config-file="+config, got)
	want, mirrored := mirrortest.Describe(t, filepath.Join(tree, "pool"), false), mirrortest.Describe(t, filepath.Join(got, "pool"), false)
	if diff := cmp.Diff(want, mirrored); diff != "" || len(want) < 3 {
		t.Errorf("packages, -served +mirrored\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(got, "dists/x/Release")); err != nil {
		t.Error(err)
	}
}
