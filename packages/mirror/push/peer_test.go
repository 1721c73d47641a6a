package push

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"micromirror/packages/child"
)

// mosquitto is a real broker that can be stopped and started again on the same
// port.
type mosquitto struct {
	t    *testing.T
	addr string
	conf string
	proc *child.Process
}

func newMosquitto(t *testing.T, settings string) *mosquitto {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := &mosquitto{t: t, addr: l.Addr().String(), conf: filepath.Join(t.TempDir(), "mosquitto.conf")}
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n%s", l.Addr().(*net.TCPAddr).Port, settings)
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *mosquitto) start() {
	m.t.Helper()
	name := "mosquitto"
	if _, err := exec.LookPath(name); err != nil {
		name = "/usr/sbin/mosquitto" // a plain user's PATH leaves it out
	}
	cmd := exec.Command(name, "-c", m.conf)
	cmd.Stderr = m.t.Output()
	proc, err := child.Start(cmd)
	if err != nil {
		m.t.Fatal(err)
	}
	m.proc = proc
	m.t.Cleanup(proc.Kill)
}

func (m *mosquitto) stop() { m.proc.Kill() }

// say publishes until the node has heard it: a message of QoS 0 to a broker that
// the node has not come back to yet is lost, as it is meant to be.
func (m *mosquitto) say(scheme string, config *tls.Config, topic string, heard <-chan string) string {
	m.t.Helper()
	o := mqtt.NewClientOptions().AddBroker(scheme + "://" + m.addr).SetClientID("upstream").SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond)
	c := mqtt.NewClient(o.SetTLSConfig(config))
	if token := c.Connect(); !token.WaitTimeout(30*time.Second) || token.Error() != nil {
		m.t.Fatalf("connect to mosquitto: %v", token.Error())
	}
	defer c.Disconnect(0)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(60 * time.Second)
	for {
		c.Publish(topic, 0, false, "x")
		select {
		case got := <-heard:
			return got
		case <-tick.C:
		case <-late:
			m.t.Fatal("the node never heard")
		}
	}
}

// listenAs starts a node's side.
func listenAs(t *testing.T, c Config) (heard chan string, ended chan error, stop context.CancelFunc) {
	heard, ended = make(chan string, 1000), make(chan error, 1)
	c.Client, c.Upstream, c.Retry = "node", "rsync.example.net", 200*time.Millisecond
	c.Pushed = func(topic string) { heard <- topic }
	c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- Listen(ctx, c) }()
	return heard, ended, stop
}

// TestMosquitto pushes through a real broker, plain and over TLS, before and
// after the broker is lost.
func TestMosquitto(t *testing.T) {
	cert, key, roots := certificate(t)
	for name, tt := range map[string]struct {
		settings, scheme string
		config           *tls.Config
	}{
		"plain": {"", "tcp", nil},
		"TLS":   {fmt.Sprintf("certfile %s\nkeyfile %s\n", cert, key), "ssl", &tls.Config{RootCAs: roots, ServerName: "broker.example.net"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMosquitto(t, tt.settings)
			heard, ended, stop := listenAs(t, Config{Broker: m.addr, TLS: tt.config}) // the broker is not there yet
			m.start()
			for range 2 {
				if got := m.say(tt.scheme, tt.config, "rsync/rsync.example.net/debian", heard); got != "debian" {
					t.Errorf("heard %q", got)
				}
				m.stop()
				m.start()
			}
			m.stop() // a node whose broker is gone ends as fast as any
			stop()
			receive(t, ended)
		})
	}
}

// TestForeignCertificate is a broker that is not who it should be: nothing is
// heard, and nothing else happens.
func TestForeignCertificate(t *testing.T) {
	cert, key, roots := certificate(t)
	m := newMosquitto(t, fmt.Sprintf("certfile %s\nkeyfile %s\n", cert, key))
	m.start()
	refused := make(chan struct{}, 100)
	config := &tls.Config{RootCAs: roots, ServerName: "other.example.net"}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Listen(ctx, Config{Broker: m.addr, TLS: config, Client: "node", Upstream: "u", Retry: 50 * time.Millisecond, Log: log,
			Pushed: func(topic string) { t.Errorf("heard %q", topic) }, Refused: func(error) { refused <- struct{}{} }})
	}()
	receive(t, refused)
	receive(t, refused)
	stop()
	receive(t, ended)
}

// certificate makes one for broker.example.net that signs itself.
func certificate(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, DNSNames: []string{"broker.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	secretDER, err := x509.MarshalECPrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secretDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	return cert, key, roots
}
