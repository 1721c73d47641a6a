package acme

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/certificate"
	"micromirror/packages/pebble"
)

// node is a node with an authority that can reach it.
type node struct {
	*testing.T
	config    Config
	authority *pebble.Server
	requests  atomic.Int64 // to the authority, for new orders
}

func newNode(t *testing.T, c pebble.Config) *node {
	t.Helper()
	t.Parallel() // most of the time is waiting
	n := &node{T: t}
	dir := t.TempDir()
	volatile := filepath.Join(dir, "run")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// What httpd does on a node.
	server := &http.Server{Handler: http.StripPrefix("/.well-known/acme-challenge/", http.FileServer(http.Dir(filepath.Join(volatile, challengeDir))))}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	c.Dir, c.HTTPPort = t.TempDir(), l.Addr().(*net.TCPAddr).Port
	if n.authority, err = pebble.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.authority.Close)
	n.config = Config{
		Dir: filepath.Join(dir, "acme"), Volatile: volatile, Directory: n.authority.URL, Email: "noc@example.net",
		Names: []string{"node.example.net", "mirror.example.net"}, CA: n.authority.CA, Group: -1,
		Clock: func() error { return nil }, Network: func() error { return nil }, Log: slog.New(slog.DiscardHandler),
	}
	return n
}

func (n *node) manager() *Manager {
	n.Helper()
	m, err := New(n.config)
	if err != nil {
		n.Fatal(err)
	}
	return m
}

// step lets a fresh process do what is due.
func (n *node) step() certificate.Status {
	n.Helper()
	n.manager().Step(n.Context())
	return certificate.ReadStatus(filepath.Join(n.config.Volatile, statusFile))
}

// certificate reads and checks what is served with.
func (n *node) certificate() *x509.Certificate {
	n.Helper()
	cert, err := certificate.Read(filepath.Join(n.config.Dir, certificate.File))
	if err != nil {
		n.Fatal(err)
	}
	root, err := n.authority.Root(n.Context())
	if err != nil {
		n.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	for _, der := range cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			n.Fatal(err)
		}
		between.AddCert(c)
	}
	for _, name := range n.config.Names {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between}); err != nil {
			n.Error(err)
		}
	}
	return cert.Leaf
}

func TestIssueAndRenew(t *testing.T) {
	n := newNode(t, pebble.Config{RejectNonce: 20, Sleep: time.Second})
	status := n.step()
	if status.State != certificate.Valid || status.Reason != "" {
		t.Fatalf("after the first attempt: %+v", status)
	}
	first := n.certificate()
	if d := cmp.Diff([]string{"mirror.example.net", "node.example.net"}, sorted(status.Names)); d != "" {
		t.Errorf("names: -want +got:\n%s", d)
	}
	if n.step(); n.certificate().SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("a fresh certificate was replaced")
	}
	n.config.Names = append(n.config.Names, "alias.example.org")
	if status = n.step(); status.State != certificate.Valid || n.certificate().SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("another name did not lead to another certificate: %+v", status)
	}
	left, err := os.ReadDir(filepath.Join(n.config.Volatile, challengeDir))
	if err != nil || len(left) > 0 {
		t.Errorf("challenges left: %v, %v", left, err)
	}
}

func sorted(s []string) []string {
	if len(s) == 2 && s[0] > s[1] {
		return []string{s[1], s[0]}
	}
	return s
}

func TestRenewsWhenTwoThirdsAreOver(t *testing.T) {
	n := newNode(t, pebble.Config{Validity: time.Hour})
	n.step()
	m := n.manager()
	leaf := n.certificate()
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	for part, due := range map[float64]bool{0.1: false, 0.5: false, 0.67: true, 1.5: true} {
		at := leaf.NotBefore.Add(time.Duration(float64(life) * part))
		if got := m.due(at) == 0; got != due {
			t.Errorf("after %v of its life: due %v, want %v", part, got, due)
		}
	}
	if wait := m.due(leaf.NotBefore.Add(-time.Hour)); wait != 0 {
		t.Errorf("a certificate of the future is good for %v", wait)
	}
}

// A power cut may come at any step; the next start goes on with the same order.
func TestPowerCutCostsNoSecondOrder(t *testing.T) {
	for _, step := range []string{"ordered", "proven", "issued"} {
		t.Run(step, func(t *testing.T) {
			n := newNode(t, pebble.Config{})
			n.config.Transport = n.trusting()
			n.config.Passed = func(at string) error {
				if at == step {
					return errors.New("power cut")
				}
				return nil
			}
			m := n.manager()
			if err := m.issue(t.Context()); err == nil || err.Error() != "power cut" {
				t.Fatalf("did not get to %s: %v", step, err)
			}
			n.config.Passed = nil
			if status := n.step(); status.State != certificate.Valid {
				t.Fatalf("afterwards: %+v", status)
			}
			n.certificate()
			if got := n.requests.Load(); got != 1 {
				t.Errorf("%d orders, want 1", got)
			}
			if _, err := os.Stat(filepath.Join(n.config.Dir, orderFile)); err == nil {
				t.Error("the order is still noted")
			}
		})
	}
}

// trusting is a transport that counts and believes the authority's server.
func (n *node) trusting() http.RoundTripper {
	m := &Manager{Config: n.config}
	roots, err := m.roots()
	if err != nil {
		n.Fatal(err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig.RootCAs = roots
	return counting{base, &n.requests}
}

type counting struct {
	http.RoundTripper
	orders *atomic.Int64
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/order-plz") {
		c.orders.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

func TestAuthorityDownKeepsTheCertificate(t *testing.T) {
	n := newNode(t, pebble.Config{})
	n.step()
	before := n.certificate()
	n.authority.Close()
	n.config.Names = []string{"other.example.net"}
	status := n.step()
	if status.State != certificate.Valid || !strings.Contains(status.Reason, "refused") || strings.Contains(status.Reason, "\n") {
		t.Errorf("with the authority down: %+v", status)
	}
	cert, err := certificate.Read(filepath.Join(n.config.Dir, certificate.File))
	if err != nil || cert.Leaf.SerialNumber.Cmp(before.SerialNumber) != 0 {
		t.Errorf("the certificate is gone: %v", err)
	}
}

func TestNameThatIsNotOurs(t *testing.T) {
	n := newNode(t, pebble.Config{})
	if err := os.MkdirAll(n.config.Volatile, 0o755); err != nil {
		t.Fatal(err)
	}
	m := n.manager()
	m.Volatile = t.TempDir() // nobody serves this one
	if err := os.Mkdir(filepath.Join(m.Volatile, challengeDir), 0o755); err != nil {
		t.Fatal(err)
	}
	m.Step(t.Context())
	if m.status.State != certificate.None || !strings.Contains(m.status.Reason, "not proven") {
		t.Errorf("%+v", m.status)
	}
}

// An alias that leads elsewhere costs one attempt, and not the certificate.
func TestAliasThatIsNotOurs(t *testing.T) {
	n := newNode(t, pebble.Config{Elsewhere: []string{"alias.example.org"}})
	own := n.config.Names
	n.config.Names = append([]string{own[0], "alias.example.org"}, own[1:]...)
	status := n.step()
	if status.State != certificate.None || !strings.Contains(status.Reason, "alias.example.org: not proven") {
		t.Errorf("first: %+v", status)
	}
	m := n.manager()
	m.budget.Failures = 0 // as if the pause were over
	m.Step(t.Context())
	status = certificate.ReadStatus(filepath.Join(n.config.Volatile, statusFile))
	if words := status.Words(time.Now()); status.State != certificate.Valid || !strings.HasPrefix(words, "certificate lacks alias.example.org: not proven") {
		t.Errorf("second: %q, %+v", words, status)
	}
	if due := m.due(time.Now()); due == 0 {
		t.Error("asks again at once")
	}
	n.config.Names = own
	n.certificate()
}

func TestProvable(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var b budget
	for name, at := range map[string]time.Time{"own": now, "fresh": now, "old": now.Add(-day), "future": now.Add(time.Hour)} {
		b.refuse(name, "wrong", at)
	}
	names, why := b.provable([]string{"own", "fresh", "old", "future", "new"}, now)
	if d := cmp.Diff([]string{"own", "old", "future", "new"}, names); d != "" || why != "fresh: wrong" {
		t.Errorf("%q; -want +got:\n%s", why, d)
	}
}

func TestNothingIsAskedFor(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		state  string
		reason string
	}{
		"without an authority": {func(c *Config) { c.Directory = "" }, certificate.Off, ""},
		"without a name":       {func(c *Config) { c.Names = nil }, certificate.Off, ""},
		"by the wrong clock": {func(c *Config) { c.Clock = func() error { return errors.New("no time server heard") } },
			certificate.None, "waiting for the right time: no time server heard"},
		"before there is an address": {func(c *Config) { c.Network = func() error { return errors.New("no address yet") } },
			certificate.None, "waiting for the network: no address yet"},
		"that cannot be counted": {func(c *Config) {
			if err := os.MkdirAll(filepath.Join(c.Dir, attemptsFile), 0o755); err != nil {
				t.Fatal(err)
			}
		}, certificate.None, "the count of attempts was damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := Config{
				Dir: filepath.Join(dir, "acme"), Volatile: filepath.Join(dir, "run"), Directory: "https://acme.example.net/directory",
				Names: []string{"node.example.net"}, Group: -1, Log: slog.New(slog.DiscardHandler),
				Clock: func() error { return nil }, Network: func() error { return nil },
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					t.Errorf("asked for %s", r.URL)
					return nil, io.ErrUnexpectedEOF
				}),
			}
			test.change(&c)
			n := &node{T: t, config: c}
			status := n.step()
			if status.State != test.state || status.Reason != test.reason {
				t.Errorf("got %+v, want %s, %q", status, test.state, test.reason)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The authority is down for days, and the node restarts all the time.
func TestBudgetOutlivesRestarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), attemptsFile)
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	var attempts []time.Time
	for end := now.Add(72 * time.Hour); now.Before(end); now = now.Add(30 * time.Second) {
		b := readBudget(file, slog.New(slog.DiscardHandler))
		if b.wait(now) > 0 {
			continue
		}
		if err := b.begin(now); err != nil {
			t.Fatal(err)
		}
		attempts = append(attempts, now)
		_ = b.fail("CA down", errors.New("CA down"))
	}
	for i := range attempts {
		in := 0
		for _, at := range attempts[i:] {
			if at.Sub(attempts[i]) < day {
				in++
			}
		}
		if in > Most {
			t.Errorf("%d attempts within a day from %v", in, attempts[i])
		}
	}
	if len(attempts) < 7 {
		t.Errorf("only %d attempts in three days", len(attempts))
	}
}

func TestBudget(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(ds ...time.Duration) (out []time.Time) {
		for _, d := range ds {
			out = append(out, now.Add(-d))
		}
		return out
	}
	for name, test := range map[string]struct {
		budget budget
		want   time.Duration
	}{
		"fresh":                  {budget{}, 0},
		"after success":          {budget{Attempts: ago(time.Minute)}, 0},
		"after a failure":        {budget{Attempts: ago(20 * time.Second), Failures: 1}, 40 * time.Second},
		"after many":             {budget{Attempts: ago(time.Hour), Failures: 99}, 11 * time.Hour},
		"used up":                {budget{Attempts: ago(5*time.Hour, 4*time.Hour, 3*time.Hour, 2*time.Hour, time.Hour)}, 19 * time.Hour},
		"old ones":               {budget{Attempts: ago(90*time.Hour, 80*time.Hour, 70*time.Hour, 60*time.Hour, 50*time.Hour)}, 0},
		"made with another time": {budget{Attempts: ago(-900 * time.Hour), Failures: 1}, time.Minute},
	} {
		if got := test.budget.wait(now); got != test.want {
			t.Errorf("%s: wait %v, want %v", name, got, test.want)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	n := newNode(t, pebble.Config{})
	n.step()
	for file, content := range map[string]string{accountFile: "x", certificate.File: "x", orderFile: "x"} {
		if err := os.WriteFile(filepath.Join(n.config.Dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status := n.step(); status.State != certificate.Valid {
		t.Errorf("%+v", status)
	}
	n.certificate()
	if err := os.WriteFile(filepath.Join(n.config.Dir, attemptsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if wait := readBudget(filepath.Join(n.config.Dir, attemptsFile), slog.New(slog.DiscardHandler)).wait(time.Now()); wait < 23*time.Hour {
		t.Errorf("a damaged count allows an attempt in %v", wait)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte(`{"attempts":["2026-11-22T00:00:00Z"],"failures":1}`))
	f.Add([]byte(`{"directory":"https://a/","names":["a"],"url":"u","key":"-----BEGIN PRIVATE KEY-----"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		for _, file := range []string{attemptsFile, orderFile} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		m := &Manager{Config: Config{Dir: dir, Log: slog.New(slog.DiscardHandler)}}
		if o := m.readOrder(); o != nil {
			if _, err := json.Marshal(o); err != nil {
				t.Error(err)
			}
		}
		_, _ = parseKey(data)
		b := readBudget(filepath.Join(dir, attemptsFile), m.Log)
		if wait := b.wait(time.Now()); wait < 0 || wait > day {
			t.Errorf("wait %v", wait)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	m, err := New(Config{Dir: dir, Volatile: dir, Group: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Run(ctx); err != nil {
		t.Error(fmt.Errorf("run: %w", err))
	}
}
