// Package syslogtest runs a real collector for tests: rsyslog with TLS on a port
// of loopback, writing what it gets to a file. Its certificate also names Guest.
//
// It needs rsyslogd and its gnutls driver; it ends only what it started.
package syslogtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Guest is the address under which a virtual machine reaches this computer.
const Guest = "10.0.2.2"

// Collector is an rsyslog that can be stopped and started again on its port.
type Collector struct {
	*testing.T
	Addr string
	// CA is the PEM of the authority that signed for it.
	CA  string
	dir string
	cmd *exec.Cmd
}

const config = `
global(workDirectory="DIR"
  defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="DIR/ca.pem"
  defaultNetstreamDriverCertFile="DIR/ca.pem"
  defaultNetstreamDriverKeyFile="DIR/key.pem"
  maxMessageSize="16k")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="form" type="string" string="%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %msgid% %msg%\n")
input(type="imtcp" address="127.0.0.1" port="PORT")
action(type="omfile" file="DIR/out" template="form" asyncWriting="off" flushOnTXEnd="on")
`

// New prepares a collector; Start runs it.
func New(t *testing.T) *Collector {
	t.Helper()
	c := &Collector{T: t, dir: t.TempDir()}
	c.Addr = c.address()
	c.certify()
	_, port, err := net.SplitHostPort(c.Addr)
	c.must(err)
	text := strings.NewReplacer("DIR", c.dir, "PORT", port).Replace(config)
	c.must(os.WriteFile(filepath.Join(c.dir, "rsyslog.conf"), []byte(text), 0o600))
	return c
}

func (c *Collector) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// address finds a port below those that the kernel gives to clients: one of them
// could take it while the collector is stopped.
func (c *Collector) address() string {
	c.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+mathrand.IntN(10000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	c.Fatal("none of 100 ports is free")
	return ""
}

// certify makes a certificate that signs itself.
func (c *Collector) certify() {
	c.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "collector"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(Guest)},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	c.must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	c.must(err)
	c.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	c.must(os.WriteFile(filepath.Join(c.dir, "ca.pem"), []byte(c.CA), 0o600))
	c.must(os.WriteFile(filepath.Join(c.dir, "key.pem"),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// Start runs rsyslog until Stop or the test's end.
func (c *Collector) Start() {
	c.Helper()
	c.cmd = exec.CommandContext(c.Context(), "rsyslogd", "-n", "-f", filepath.Join(c.dir, "rsyslog.conf"),
		"-i", filepath.Join(c.dir, "pid"))
	log, err := os.Create(filepath.Join(c.dir, "output"))
	c.must(err)
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.must(c.cmd.Start())
	c.Cleanup(c.Stop)
	c.await(patience, "rsyslogd does not listen", func() bool {
		conn, err := net.Dial("tcp", c.Addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// Stop ends rsyslog.
func (c *Collector) Stop() {
	if c.cmd == nil {
		return
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		_ = c.cmd.Wait() // how it ends does not matter
	}
	c.cmd = nil
}

// patience is how long is waited for what takes no time.
const patience = 30 * time.Second

// await waits until a condition holds.
func (c *Collector) await(limit time.Duration, what string, ok func() bool) {
	c.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			output, err := os.ReadFile(filepath.Join(c.dir, "output"))
			c.Fatalf("%s; it says: %s (%v); it got:\n%s", what, output, err, strings.Join(c.Lines(), "\n"))
		}
	}
}

// Lines returns what rsyslog has written: priority, time, host, app, kind, text.
func (c *Collector) Lines() []string {
	c.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, "out"))
	if err != nil && !os.IsNotExist(err) {
		c.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// Await waits until a line ends in each of the texts, and returns those lines.
func (c *Collector) Await(texts ...string) []string {
	c.Helper()
	var found []string
	c.await(patience, "the collector lacks some of "+strings.Join(texts, "; "), func() bool {
		found = found[:0]
		for _, text := range texts {
			for _, line := range c.Lines() {
				if strings.HasSuffix(line, text) {
					found = append(found, line)
					break
				}
			}
		}
		return len(found) == len(texts)
	})
	return found
}

// AwaitMatch waits until each of the regular expressions matches a line.
func (c *Collector) AwaitMatch(limit time.Duration, expressions ...string) {
	c.Helper()
	for _, e := range expressions {
		re := regexp.MustCompile(e)
		c.await(limit, "the collector lacks "+e, func() bool { return slices.ContainsFunc(c.Lines(), re.MatchString) })
	}
}
