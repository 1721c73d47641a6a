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
	"micromirror/packages/demo/client"
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
	t.Run("read by apt", func(t *testing.T) { readByApt(t, dir) })
	t.Run("read by dnf", func(t *testing.T) { readByDnf(t, dir) })
}

// must returns a step's result, or ends the test.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func readByApt(t *testing.T, dir string) {
	web := httptest.NewServer(http.FileServer(http.Dir(demo.Tree(dir, demo.Debian))))
	defer web.Close()
	said, ctx := must[string](t), t.Context()
	apt := must[*client.Apt](t)(client.NewApt(t.TempDir(), fmt.Sprintf("deb [signed-by=%s] %s %s main", demo.PublicKey(dir), web.URL, demo.Suite)))
	// "Ign" would be a name by-hash that is not there.
	if out := said(apt.Run(ctx, "apt-get", "update")); !strings.Contains(out, "InRelease") || strings.Contains(out, "W:") || strings.Contains(out, "Ign:") {
		t.Errorf("apt-get update says\n%s", out)
	}
	if names := strings.Fields(said(apt.Run(ctx, "apt-cache", "pkgnames"))); len(names) < 20 {
		t.Errorf("apt sees %d packages, want at least 20: %v", len(names), names)
	}
	version := filepath.Join(apt.Root, "usr/share", demo.OwnPackage, "version")
	for _, want := range []string{"1.0", "1.1"} {
		said(apt.Run(ctx, "apt-get", "update"))
		said(apt.Run(ctx, "apt-get", "install", demo.OwnPackage, "netbase", "fonts-hack"))
		if got, err := os.ReadFile(version); err != nil || string(got) != want+"\n" {
			t.Errorf("installed is version %q, %v; want %s", got, err, want)
		}
		if want == "1.0" {
			must[string](t)(demo.Update(ctx, dir))
		}
	}
}

func readByDnf(t *testing.T, dir string) {
	web := httptest.NewServer(http.FileServer(http.Dir(demo.Tree(dir, demo.RPM))))
	defer web.Close()
	dnf := must[*client.Dnf](t)(client.NewDnf(t.TempDir(), web.URL, "RPM-GPG-KEY-demo"))
	must[string](t)(dnf.Run(t.Context(), "makecache"))
	if files := must[[]string](t)(dnf.Download(t.Context(), demo.RPMPackages()...)); len(files) != 3 {
		t.Errorf("downloaded %v", files)
	}
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
