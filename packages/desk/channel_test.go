package desk

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"micromirror/packages/manage"
	"micromirror/packages/node"
)

// maintainer makes a key pair; the private half goes to file, the line of the
// public half is returned.
func maintainer(t *testing.T, file, passphrase string) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(pem.EncodeToMemory(block)))
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	write(t, file+".pub", line+" me\n")
	return line
}

// managed is an office whose node "one" answers the management channel: the real
// server, with commands that only say what they heard.
func managed(t *testing.T) (o *office, key string) {
	t.Helper()
	o = newOffice(t)
	key = filepath.Join(t.TempDir(), "id_ed25519")
	line := maintainer(t, key, "")
	write(t, filepath.Join(o.fleet, "fleet.json"), fmt.Sprintf(`{"domain": "mirror.example", "contact": "noc@mirror.example", "upstream": "mirror.example",
		"update": {"urls": ["http://u.example/"]}, "firewall": {"allow": ["127.0.0.0/8"]}, "manage": {"keys": [%q], "port": 2222}}`, line))
	disk := filepath.Join(t.TempDir(), "one.img")
	o.ok("flash", "--node", "one", "--disk", disk, "--size", "4G", "--any-size", "--yes", "one",
		"--release", bootable(t, testRelease(t, "2026.11.22-0123abcdef", o.clock)))
	o.channel = answering(t, o.fleet, "one", keyOn(t, disk))
	return o, key
}

// answering is a node's channel; its host key is that of the node's own key.
func answering(t *testing.T, fleet, name, nodeKey string) string {
	t.Helper()
	host, err := manage.HostKey(nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := Fleet(fleet).Read(name)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := manage.PublicKeys(cfg.Fleet.Manage.Keys)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	commands := manage.Box{Root: t.TempDir()}.Commands()
	for name := range commands {
		commands[name] = func(_ context.Context, args []string, w io.Writer) error { return echo(name, args, w) }
	}
	s := &manage.Server{Host: host, Keys: keys, From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Commands: commands, Now: slowly(), Audit: func(manage.Event) {}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// slowly is a clock by which maintainers never come too often.
func slowly() func() time.Time {
	var calls atomic.Int64
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return func() time.Time { return start.Add(time.Duration(calls.Add(1)) * time.Minute) }
}

func echo(name string, args []string, w io.Writer) error {
	switch {
	case len(args) > 0 && args[0] == "videolan":
		return errors.New("no such project \x1b[2J")
	case name == manage.CommandLogs:
		_, err := fmt.Fprint(w, "first\x1b[2J\nsecond "+strings.Join(args, " ")+"\n")
		return err
	case name == manage.CommandStatus:
		_, err := fmt.Fprint(w, `{"uptime_seconds": 90000, "drained": "new rack"}`)
		return err
	case name == manage.CommandDiag:
		z := gzip.NewWriter(w)
		return errors.Join(tar.NewWriter(z).Close(), z.Close())
	}
	return nil
}

func TestOrders(t *testing.T) {
	o, key := managed(t)
	out := filepath.Join(t.TempDir(), "one.tar.gz")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"sync", "one", "gimp", "--allow-shrink"}, "gimp is being synced"},
		{[]string{"logs", "one", "--lines", "7"}, "first[2J\nsecond 7\n"},
		{[]string{"diag", "one", "--out", out}, "one.tar.gz"},
		{[]string{"reboot", "one", "--yes", "one"}, "reboots"},
		{[]string{"drain", "one", "--why", "new rack"}, "no users"},
		{[]string{"undrain", "one", "--json"}, `"command": "undrain"`},
	} {
		if got := o.ok(append(test.args, "--identity", key)...); !strings.Contains(got, test.want) || strings.Contains(got, "\x1b") {
			t.Errorf("%q: %q, want %q", test.args, got, test.want)
		}
	}
	if f, err := os.Open(out); err != nil {
		t.Error(err)
	} else if _, err := gzip.NewReader(f); err != nil {
		t.Errorf("bundle: %v", err)
	}
	o.refused([]string{"does not host", "gimp"}, "sync", "one", "debian", "--identity", key)
	o.refused([]string{"reboot", "nothing was done"}, "reboot", "one", "--yes", "two", "--identity", key)
	o.refused([]string{"write: mirrorctl sync NODE PROJECT"}, "sync", "one", "--identity", key)
	o.refused([]string{"--lines"}, "logs", "one", "--lines", "0", "--identity", key)
	o.refused([]string{"--why"}, "drain", "one", "--why", strings.Repeat("x", 300), "--identity", key)
}

func TestDetails(t *testing.T) {
	o, key := managed(t)
	o.nodes["one"].status = goodStatus
	if got := o.ok("status", "one", "--details", "--identity", key); !strings.Contains(got, "up for 25h") || !strings.Contains(got, "drained: new rack") {
		t.Errorf("details:\n%s", got)
	}
}

// Whoever is not the node, or is no maintainer, gets nothing.
func TestChannelTrustsNobody(t *testing.T) {
	o, key := managed(t)
	stranger := filepath.Join(t.TempDir(), "stranger")
	maintainer(t, stranger, "")
	o.refused([]string{"does not know your key", "manage.keys"}, "logs", "one", "--identity", stranger)
	o.refused([]string{"no private key"}, "logs", "one")
	o.refused([]string{"--identity", "nothing"}[1:], "logs", "one", "--identity", "nothing")
	o.refused([]string{"no host key of two", "known_hosts"}, "logs", "two", "--identity", key)

	pinned, err := os.ReadFile(Fleet(o.fleet).KnownHosts())
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	line := maintainer(t, other, "")
	write(t, Fleet(o.fleet).KnownHosts(), "one.mirror.example "+line+"\n")
	o.refused([]string{"another machine", "known_hosts"}, "logs", "one", "--identity", key)
	write(t, Fleet(o.fleet).KnownHosts(), string(pinned))

	o.channel = "127.0.0.1:1"
	o.refused([]string{"does not answer", "firewall.allow"}, "logs", "one", "--identity", key)
	write(t, filepath.Join(o.fleet, "fleet.json"), `{"domain": "mirror.example", "contact": "noc@mirror.example", "upstream": "mirror.example"}`)
	o.refused([]string{"manage.keys is empty"}, "logs", "one", "--identity", key)
}

func TestPrivateKeys(t *testing.T) {
	o := emptyOffice(t)
	home := t.TempDir()
	maintainer(t, filepath.Join(home, ".ssh", "id_ed25519"), "opensesame")
	o.env["HOME"] = home
	o.typed = []string{"opensesame", "wrong"}
	keys, done, err := o.desk().signers(&channel{})
	if err != nil || len(keys) != 1 {
		t.Errorf("keys = %v, %v", keys, err)
	}
	done()
	for range 2 { // the wrong passphrase, then none
		if _, _, err := o.desk().signers(&channel{}); err == nil || !strings.Contains(err.Error(), "id_ed25519") {
			t.Errorf("error = %v", err)
		}
	}
}

func TestKnownHostsKeepsOthers(t *testing.T) {
	f := Fleet(t.TempDir())
	a, err := manage.HostKey("AGE-SECRET-KEY-1A")
	if err != nil {
		t.Fatal(err)
	}
	b, err := manage.HostKey("AGE-SECRET-KEY-1B")
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.KnownHosts(), "# ours")
	for _, step := range []struct {
		name string
		key  ssh.PublicKey
	}{{"one.example", a.PublicKey()}, {"two.example", a.PublicKey()}, {"one.example", b.PublicKey()}, {"two.example", nil}} {
		if err := f.pin(step.name, step.key); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.pinned("one.example")
	if err != nil || !bytes.Equal(got.Marshal(), b.PublicKey().Marshal()) {
		t.Errorf("one = %v, %v", got, err)
	}
	if _, err := f.pinned("two.example"); err == nil {
		t.Error("two is still there")
	}
	if data, err := os.ReadFile(f.KnownHosts()); err != nil || !strings.HasPrefix(string(data), "# ours\n") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestInitWithMaintainer(t *testing.T) {
	o := emptyOffice(t)
	key := filepath.Join(t.TempDir(), "id")
	line := maintainer(t, key, "")
	flags := []string{"init", "--without-keys", "--domain", "d.example", "--contact", "noc@d.example", "--upstream", "u.example"}
	o.refused([]string{"private key", ".pub"}, append(flags, "--manage-key", key, "--allow", "192.0.2.0/24")...)
	o.refused([]string{"ssh-keygen"}, append(flags, "--manage-key", "nothing.pub", "--allow", "192.0.2.0/24")...)
	o.refused([]string{"firewall.allow"}, append(flags, "--manage-key", key+".pub")...)
	o.ok(append(flags, "--manage-key", key+".pub", "--allow", "192.0.2.0/24")...)
	o.node("one", "qemu")
	cfg, err := Fleet(o.fleet).Read("one")
	if err != nil || len(cfg.Fleet.Manage.Keys) != 1 || cfg.Fleet.Manage.Keys[0] != line+" me" || cfg.Fleet.Manage.Port != node.DefaultManagePort {
		t.Errorf("manage = %+v, %v", cfg.Fleet.Manage, err)
	}
}

// A node that closes the connection unheard has a reason that is worth saying.
func TestClosedUnheard(t *testing.T) {
	o, key := managed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	o.channel = l.Addr().String()
	o.refused([]string{"closed the connection", "firewall.allow"}, "logs", "one", "--identity", key)
}
