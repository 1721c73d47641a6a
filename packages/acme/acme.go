// Package acme gets the node's certificate from a certificate authority and
// renews it (RFC 8555), with nobody to help it.
//
// One certificate for all of the node's names. It is asked for when there is none,
// when the names have changed and when two thirds of its life are over, a little
// earlier or later on each node. A further name that cannot be proven, because it
// leads elsewhere, is left out and tried again after a day, so that it costs the
// others nothing. Names are proven by HTTP-01: the answer to a challenge is a file in
// a volatile directory that httpd reads. TLS-ALPN-01 is not spoken: port 80 is open
// on a mirror whatever happens, port 443 only once there is a certificate. The
// step-by-step client of golang.org/x/crypto/acme is used and not its autocert, which
// makes a certificate for each name, decides by itself when to ask and proves names
// by TLS-ALPN-01 first.
//
// Promise: the authority is never hammered. Every attempt is counted durably
// before it begins, at most Most in 24 hours, and after failures in a row each
// waits longer than the one before; restarts and power cuts change nothing about
// that. While the clock is not known to be right, the network is not up, or the
// count cannot be written, nothing is asked for. An order is noted with its key before it is made final, so
// that a power cut between the authority's work and ours costs no second
// certificate: the next start fetches it. A certificate is replaced only by one
// that fits its key, the names and the time.
//
// Nothing else on the node waits for this: whatever fails is one line in the
// status file (see package certificate), on the console when it changes, and no
// certificate is ever taken away.
//
// Files, all in Config.Dir, durable: account.key, certificate.pem (with its key,
// for the group of httpd to read), order.json (while one is under way),
// attempts.json. In Config.Volatile: status.json, challenge/<token>. No port.
package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"micromirror/packages/certificate"
)

// Config says what to get and from whom.
type Config struct {
	Dir, Volatile string
	Directory     string // URL of the authority; empty: none is asked
	Email         string
	Names         []string
	CA            []byte // PEM of who vouches for the directory's server, beside the usual
	Group         int    // who may read the certificate beside the owner; -1 for nobody
	// Clock says why the time cannot be trusted, nil if it can.
	Clock func() error
	// Network says why nobody can be reached, nil if they can.
	Network func() error
	Log     *slog.Logger

	// Transport is for tests: nil is the network.
	Transport http.RoundTripper
	// Passed is for tests, called with each step that was reached.
	Passed func(step string) error
}

// Manager keeps the certificate.
type Manager struct {
	Config
	cert   *tls.Certificate
	budget *budget
	names  []string // of Names, those that can be proven
	status certificate.Status
	told   string // the last line on the console
	early  bool   // the network is not up yet: no news to anybody
}

// New makes a manager and its directories.
func New(c Config) (*Manager, error) {
	if c.Passed == nil {
		c.Passed = func(string) error { return nil }
	}
	c.Names = slices.Clone(c.Names)
	for _, dir := range []string{c.Dir, filepath.Join(c.Volatile, challengeDir)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("acme: %w", err)
		}
	}
	m := &Manager{Config: c, budget: readBudget(filepath.Join(c.Dir, attemptsFile), c.Log)}
	m.names, _ = m.budget.provable(m.Names, time.Now())
	m.load()
	return m, nil
}

// look is how often the manager looks whether something is to be done: a clock
// that jumps cannot make it sleep for years.
const look = 30 * time.Second

// soon is how often it looks for the network, which most often is about to come.
const soon = 2 * time.Second

// Run keeps the certificate until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	for {
		wait := m.Step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		timer := time.NewTimer(min(wait, look))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Step does what is due now and returns in how long something will be.
func (m *Manager) Step(ctx context.Context) time.Duration {
	wait := m.step(ctx)
	m.report()
	return wait
}

func (m *Manager) step(ctx context.Context) time.Duration {
	now := time.Now()
	m.status.Reason, m.status.NextAttempt, m.early = "", time.Time{}, false
	if m.Directory == "" || len(m.Names) == 0 {
		return look
	}
	if m.cert == nil {
		m.load() // the second copy may have been put back
	}
	m.names, m.status.Incomplete = m.budget.provable(m.Names, now)
	m.status.LastAttempt = m.budget.last()
	if due := m.due(now); due > 0 {
		m.status.NextAttempt = now.Add(due)
		return due
	}
	if err := m.Clock(); err != nil {
		m.status.Reason = "waiting for the right time: " + err.Error()
		return look
	}
	if wait := m.budget.wait(now); wait > 0 {
		m.status.Reason, m.status.NextAttempt = m.budget.Reason, now.Add(wait)
		return wait
	}
	if err := m.Network(); err != nil {
		m.status.Reason, m.early = "waiting for the network: "+certificate.OneLine(err.Error()), true
		return soon
	}
	return m.attempt(ctx, now)
}

// attempt asks the authority, with an account of it.
func (m *Manager) attempt(ctx context.Context, now time.Time) time.Duration {
	if err := m.budget.begin(now); err != nil {
		m.status.Reason = err.Error()
		return look
	}
	m.status.LastAttempt = now
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	err := m.issue(ctx)
	if err == nil {
		err = m.budget.succeed()
	} else {
		err = m.budget.fail(certificate.OneLine(err.Error()), err)
	}
	if err != nil {
		m.status.Reason = certificate.OneLine(err.Error())
	}
	now = time.Now()
	wait := max(m.due(now), m.budget.wait(now))
	m.status.NextAttempt = now.Add(wait)
	return wait
}

// attemptTime bounds one attempt.
const attemptTime = 5 * time.Minute

// due returns in how long the certificate has to be replaced.
func (m *Manager) due(now time.Time) time.Duration {
	if m.cert == nil || !covers(m.cert.Leaf, m.names) || now.Before(m.cert.Leaf.NotBefore) {
		return 0
	}
	leaf := m.cert.Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return max(0, leaf.NotBefore.Add(life*2/3-m.jitter(life/10)).Sub(now))
}

// jitter is a part of d that is different for each node and certificate.
func (m *Manager) jitter(d time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(m.Names[0]))
	h.Write(m.cert.Leaf.SerialNumber.Bytes())
	return time.Duration(h.Sum64() % uint64(d+1))
}

func covers(leaf *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

// load reads the certificate that is there.
func (m *Manager) load() {
	file := filepath.Join(m.Dir, certificate.File)
	cert, err := certificate.Read(file)
	if err != nil {
		if _, missing := os.Stat(file); missing == nil {
			m.Log.Error("certificate", "err", err)
		}
		return
	}
	m.cert = cert
	// A second copy that was put back belongs to nobody else yet.
	if err := m.share(file); err != nil {
		m.Log.Error("certificate", "err", err)
	}
}

// report tells what there is, to files and, when it has changed, to people.
func (m *Manager) report() {
	s := &m.status
	switch now := time.Now(); {
	case m.Directory == "" || len(m.Names) == 0:
		s.State = certificate.Off
	case m.cert == nil:
		s.State = certificate.None
	case now.After(m.cert.Leaf.NotAfter):
		s.State = certificate.Expired
	default:
		s.State = certificate.Valid
	}
	if m.cert != nil {
		s.Names, s.NotAfter = m.cert.Leaf.DNSNames, m.cert.Leaf.NotAfter.UTC()
	}
	if err := m.writeStatus(); err != nil {
		m.Log.Error("status", "err", err)
	}
	line := s.Words(time.Now())
	if line == m.told {
		return
	}
	switch m.told = line; {
	case line == "":
	case m.early:
		m.Log.Info(line)
	default:
		m.Log.Warn(line)
	}
}
