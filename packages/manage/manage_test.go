package manage

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func signer(t *testing.T, seed byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// box is a server with three commands, and its audit.
type box struct {
	address string
	mu      sync.Mutex
	events  []Event
	more    chan struct{} // one for each event
}

func newBox(t *testing.T) *box { return boxFor(t, "127.0.0.0/8") }

func boxFor(t *testing.T, from string) *box {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{address: l.Addr().String(), more: make(chan struct{}, 1000)}
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := &Server{
		Host: signer(t, 1), Keys: []ssh.PublicKey{signer(t, 2).PublicKey()}, From: []netip.Prefix{netip.MustParsePrefix(from)}, Now: func() time.Time { return start },
		Audit: func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
			b.more <- struct{}{}
		},
		Commands: map[string]Command{
			"logs": func(_ context.Context, args []string, w io.Writer) error {
				_, err := fmt.Fprint(w, "logs of ", args)
				return err
			},
			"reboot": func(context.Context, []string, io.Writer) error { return errors.New("not now") },
			"diag":   func(context.Context, []string, io.Writer) error { panic("oops") },
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *box) dial(t *testing.T, key byte) (*ssh.Client, error) {
	t.Helper()
	return ssh.Dial("tcp", b.address, &ssh.ClientConfig{User: "maintainer", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer(t, key))},
		HostKeyCallback: ssh.FixedHostKey(signer(t, 1).PublicKey())})
}

// run is one command over one connection.
func (b *box) run(t *testing.T, line string) (stdout, stderr string, err error) {
	t.Helper()
	c, err := b.dial(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	var out, problem bytes.Buffer
	s.Stdout, s.Stderr = &out, &problem
	err = s.Run(line)
	return out.String(), problem.String(), err
}

func (b *box) audit() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprint(b.events)
}

func TestCommands(t *testing.T) {
	b := newBox(t)
	if out, _, err := b.run(t, "logs syncd 100"); err != nil || out != "logs of [syncd 100]" {
		t.Errorf("logs: %q, %v", out, err)
	}
	for line, want := range map[string]string{"reboot": "not now", "diag": "panic: oops", "sh -c id": `"sh" is no command`, "logs2": "no command"} {
		_, stderr, err := b.run(t, line)
		var exit *ssh.ExitError
		if !errors.As(err, &exit) || exit.ExitStatus() != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %v, %q; want status 1 and %q", line, err, stderr, want)
		}
	}
	for _, want := range []string{`"reboot" begun`, `"reboot" not now`, ssh.FingerprintSHA256(signer(t, 2).PublicKey()), "127.0.0.1:"} {
		if !strings.Contains(b.audit(), want) {
			t.Errorf("the audit lacks %q:\n%s", want, b.audit())
		}
	}
}

func TestOnlyKnownKeys(t *testing.T) {
	b := newBox(t)
	if c, err := b.dial(t, 3); err == nil {
		c.Close()
		t.Error("a stranger's key was accepted")
	}
	<-b.more // the audit may be later than the client
	if !strings.Contains(b.audit(), "refused") {
		t.Errorf("the audit does not tell:\n%s", b.audit())
	}
}

func TestNothingButCommands(t *testing.T) {
	b := newBox(t)
	c, err := b.dial(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if f, err := c.Dial("tcp", "127.0.0.1:80"); err == nil {
		f.Close()
		t.Error("it forwards connections")
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if s.RequestPty("xterm", 24, 80, nil) == nil || s.Setenv("A", "b") == nil || s.RequestSubsystem("sftp") == nil || s.Shell() == nil {
		t.Error("it gives a terminal, an environment, files or a shell")
	}
	if _, _, err := b.run(t, "logs "+strings.Repeat("x", maxLine)); err == nil {
		t.Error("a long command line was accepted")
	}
}

func TestConnectionsOfAnAddressAreBounded(t *testing.T) {
	b := newBox(t)
	for range burst {
		if _, _, err := b.run(t, "logs"); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := b.dial(t, 2); err == nil { // the server's clock stands still
		c.Close()
		t.Error("one connection too many was answered")
	}
}

// Whoever stalls, or sends what is no handshake, is cut off and keeps nobody else
// out.
func TestHostileClients(t *testing.T) {
	b := newBox(t)
	for _, text := range []string{"", "SSH-2.0-x\r\n" + strings.Repeat("\xff", 1<<20), strings.Repeat("A", 1<<20), "\x00\x00\x00\x00"} {
		c, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			t.Log(err) // it was cut off already
		}
	}
	if out, _, err := b.run(t, "logs"); err != nil || out != "logs of []" {
		t.Errorf("logs: %q, %v", out, err)
	}
}

func TestOnlyFromThePrefixes(t *testing.T) {
	b := boxFor(t, "192.0.2.0/24")
	if c, err := b.dial(t, 2); err == nil {
		c.Close()
		t.Error("a maintainer's key was heard from elsewhere")
	}
	if got := b.audit(); got != "[]" {
		t.Errorf("audit = %s, want nothing: the connection was not heard", got)
	}
}
