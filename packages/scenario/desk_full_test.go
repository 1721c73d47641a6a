//go:build vm && full

package scenario

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"micromirror/packages/desk"
	"micromirror/packages/vm"
)

// channelPort is not 22, so that what the fleet file says is what counts.
const channelPort = 2222

// orderLimit is for each step: a busy computer needs minutes to start a node.
const orderLimit = 15 * time.Minute

// maintained is a node whose maintainers come from QEMU's host.
type maintained struct {
	t        *testing.T
	office   *Office
	m        *vm.VM
	identity string // file of a maintainer's key
}

// keyFile makes a key pair and returns the line of its public half.
func keyFile(t *testing.T, file string) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func newMaintained(t *testing.T) *maintained {
	t.Helper()
	dir := t.TempDir()
	f := &maintained{t: t, identity: filepath.Join(dir, "id")}
	line := keyFile(t, f.identity)
	var err error
	if f.office, err = OpenOffice(t.Context(), filepath.Join(dir, "fleet")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.office.Close() })
	image := filepath.Join(dir, "node.img")
	err = Image(t.Context(), image, ImageOptions{Kind: Shipped, Office: f.office, Fleet: func(v map[string]any) {
		v["firewall"] = map[string]any{"allow": []string{"10.0.2.2/32"}}
		v["manage"] = map[string]any{"keys": []string{line}, "port": channelPort}
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.m = vm.Start(t, vm.Config{Image: image, Timeout: orderLimit, Ports: map[int]int{80: 0, channelPort: 0}})
	return f
}

// order runs mirrorctl as a maintainer would, who waits a little when the node has
// had enough of them.
func (f *maintained) order(args ...string) (string, error) {
	for tries := 1; ; tries++ {
		out, err := f.command(args...)
		if err == nil || tries == 5 || !strings.Contains(err.Error(), "too many within a short time") {
			return out, err
		}
		select {
		case <-f.t.Context().Done():
		case <-time.After(2 * time.Second): // the node forgives one in that time
		}
	}
}

func (f *maintained) command(args ...string) (string, error) {
	var out bytes.Buffer
	c := desk.Command()
	c.SetArgs(append(args, "--fleet", f.office.Dir, "--address", f.m.Addr(channelPort), "--identity", f.identity))
	c.SetOut(&out)
	c.SetErr(io.Discard)
	err := c.ExecuteContext(f.t.Context())
	return out.String(), err
}

func (f *maintained) must(args ...string) string {
	f.t.Helper()
	out, err := f.order(args...)
	if err != nil {
		f.t.Fatalf("mirrorctl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// The maintainers' channel of the real image: each command reaches the daemon that
// owns the matter, through its sandbox, and nobody else gets in.
func TestMaintainersChannel(t *testing.T) {
	t.Parallel()
	f := newMaintained(t)
	f.m.Wait(fmt.Sprintf(`mm managed: answering maintainers on \[::\]:%d host_key=SHA256:`, channelPort))
	f.m.Wait(`mm updated: slot a healthy, re-armed`)

	if out := f.must("logs", "demo", "--lines", "5000"); !strings.Contains(out, "managed") {
		t.Errorf("the log says nothing of the channel:\n%.2000s", out)
	}
	f.must("sync", "demo", "demo-rpm")
	f.bundle()

	f.must("drain", "demo", "--why", "a test")
	f.m.Wait(`mm managed: maintainer .*command=.*drain a test.* result=done`)
	if body := f.m.GetStatus("/healthz", http.StatusServiceUnavailable); !bytes.Contains(body, []byte("drained")) {
		t.Errorf("drained: /healthz answers %s", body)
	}
	f.must("undrain", "demo")
	f.m.GetStatus("/healthz", http.StatusOK)

	stranger := *f
	stranger.identity = filepath.Join(t.TempDir(), "stranger")
	keyFile(t, stranger.identity)
	if _, err := stranger.order("logs", "demo"); err == nil || !strings.Contains(err.Error(), "does not know your key") {
		t.Errorf("a stranger's key: %v", err)
	}

	f.must("reboot", "demo", "--yes", "demo")
	f.m.Wait(`mm updated: rebooting, as a maintainer asked`)
	if got := f.m.WaitBoot(); got != "a" {
		t.Errorf("slot %s was started after the reboot, want a", got)
	}
	// Its host key is the one that was noted when its disk was written.
	f.m.Wait(`mm managed: answering maintainers`)
	f.m.Wait(`mm updated: slot a healthy, re-armed`) // the network is there long before
	f.must("logs", "demo")
}

// bundle fetches what the node knows of itself and looks for what must be there.
func (f *maintained) bundle() {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "diag.tar.gz")
	f.must("diag", "demo", "--out", file)
	r, err := os.Open(file)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	z, err := gzip.NewReader(r)
	if err != nil {
		f.t.Fatal(err)
	}
	found := map[string]bool{}
	for names := tar.NewReader(z); ; {
		h, err := names.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.t.Fatal(err)
		}
		found[h.Name] = true
	}
	for _, want := range []string{"run/health.json", "run/netd/state.json", "perm/state/logd/node.log", "perm/state/syncd/demo-rpm.json", "perm/node/node.json", "proc/meminfo", "proc/net/dev"} {
		if !found["diag/"+want] {
			f.t.Errorf("the bundle lacks %s: %v", want, found)
		}
	}
	if found["diag/perm/node/age.key"] || found["diag/perm/node/secret.json"] {
		f.t.Error("the bundle has a secret")
	}
}
