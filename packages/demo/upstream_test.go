//go:build vm

package demo_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/vm"
)

// upstream builds the demo upstream in the folder that make run uses, so that the
// packages are fetched once, and returns a copy that the test may change.
func upstream(t *testing.T) string {
	t.Helper()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	shared, own := filepath.Join(build, "demo"), filepath.Join(build, "demo-"+t.Name())
	if err := errors.Join(os.RemoveAll(own), demo.Build(t.Context(), shared, nil), demo.Clone(t.Context(), shared, own)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(own) })
	return own
}

// sh runs a command and returns what it printed, standard error as well.
func sh(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// apt returns the options of an apt of its own that knows only the archive at url.
func apt(t *testing.T, dir, url string) []string {
	t.Helper()
	root := t.TempDir()
	source := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", demo.PublicKey(dir), url, demo.Suite)
	for _, d := range []string{"etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(root, "etc/apt/sources.list"), []byte(source), 0o644),
		os.WriteFile(filepath.Join(root, "var/lib/dpkg/status"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	return []string{"apt-get", "-o", "Dir=" + root, "-o", "Dir::State::status=" + filepath.Join(root, "var/lib/dpkg/status"),
		"-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", "-o", "APT::Sandbox::User=", "-q", "-y"}
}

func TestUpstream(t *testing.T) {
	dir := upstream(t)
	server, err := demo.Serve(t.Context(), dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	t.Run("mirrored by rsync", func(t *testing.T) {
		for _, module := range demo.Modules() {
			to := filepath.Join(dir, "copy", module)
			if err := os.MkdirAll(to, 0o755); err != nil {
				t.Fatal(err)
			}
			sh(t, "rsync", "-aH", fmt.Sprintf("rsync://%s/%s/", server.Addr(), module), to)
			same(t, demo.Tree(dir, module), to, 0)
		}
	})
	t.Run("read by apt", func(t *testing.T) {
		web := httptest.NewServer(http.FileServer(http.Dir(demo.Tree(dir, demo.Debian))))
		defer web.Close()
		get := apt(t, dir, web.URL)
		out := sh(t, append(get, "update")...)
		// "Ign" would be a name by-hash that is not there.
		if !strings.Contains(out, "InRelease") || strings.Contains(out, "W:") || strings.Contains(out, "Ign:") {
			t.Errorf("apt-get update says\n%s", out)
		}
		names := strings.Fields(sh(t, append([]string{"apt-cache"}, append(get[1:7:7], "pkgnames")...)...))
		if len(names) < 20 {
			t.Errorf("apt sees %d packages, want at least 20: %v", len(names), names)
		}
		sh(t, append(get, "install", "--simulate", demo.OwnPackage, "netbase", "fonts-hack")...)
		version, err := demo.Update(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		sh(t, append(get, "update")...)
		if out := sh(t, append(get, "install", "--simulate", demo.OwnPackage)...); version != "1.1" || !strings.Contains(out, "("+version+" ") {
			t.Errorf("after the update to %s apt would do\n%s", version, out)
		}
	})
}

func TestCloseEndsTransfers(t *testing.T) {
	dir := upstream(t)
	ctx, cancel := context.WithCancel(t.Context())
	server, err := demo.Serve(ctx, dir, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hello := make([]byte, 8)
	if _, err := conn.Read(hello); err != nil || string(hello) != "@RSYNCD:" {
		t.Fatalf("greeting %q, %v", hello, err)
	}
	cancel()
	server.Close()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	for err == nil {
		_, err = conn.Read(hello)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the transfer lives on after Close")
	}
	if again, err := demo.Serve(t.Context(), dir, server.Addr()); err != nil {
		t.Errorf("serve again on the same port: %v", err)
	} else {
		again.Close()
	}
}
