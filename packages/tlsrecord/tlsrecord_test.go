package tlsrecord

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// newCertificate makes a certificate that only these tests believe in.
func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"node.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// pair is a client of crypto/tls and a server whose handshake is done.
type pair struct {
	*testing.T
	client  *tls.Conn
	socket  net.Conn // the server's
	session *Session
	err     error // of taking the session
}

// clientConfig is what a client of a kind offers.
type clientConfig struct {
	version uint16
	suite   uint16 // in TLS 1.2
	tickets bool
	cache   tls.ClientSessionCache
}

// shake makes the connection. first is sent by the client together with the end of
// its handshake.
func shake(t *testing.T, server *tls.Config, cc clientConfig, first string) *pair {
	t.Helper()
	config := &tls.Config{
		InsecureSkipVerify: true, ServerName: "node.example", MinVersion: cc.version, MaxVersion: cc.version,
		ClientSessionCache: cc.cache, SessionTicketsDisabled: !cc.tickets,
	}
	if cc.suite != 0 {
		config.CipherSuites = []uint16{cc.suite}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	deadline := time.Now().Add(20 * time.Second)
	if err := errors.Join(near.SetDeadline(deadline), far.SetDeadline(deadline)); err != nil {
		t.Fatal(err)
	}
	p := &pair{T: t, client: tls.Client(near, config), socket: far}
	wrote := make(chan error, 1)
	go func() {
		_, err := io.WriteString(p.client, first)
		wrote <- err
	}()
	tap := NewTap(far)
	conn := tls.Server(tap, tap.Config(server))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	state := conn.ConnectionState()
	p.session, p.err = tap.Take(state.Version, state.CipherSuite)
	return p
}

// exchange checks that first arrives and that both directions work.
func (p *pair) exchange(first string) {
	p.Helper()
	c := NewConn(p.socket, p.session, nil)
	got := make([]byte, len(first))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != first {
		p.Fatalf("server read %q, %v", got, err)
	}
	for _, size := range []int{1, 0, MaxPlain, MaxPlain + 1, 300_000} {
		data := bytes.Repeat([]byte{byte(size)}, size)
		errs := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			errs <- err
		}()
		back := make([]byte, size)
		if _, err := io.ReadFull(p.client, back); err != nil || !bytes.Equal(back, data) {
			p.Fatalf("client read of %d: %v", size, err)
		}
		if err := <-errs; err != nil {
			p.Fatal(err)
		}
		go func() {
			_, err := p.client.Write(data)
			errs <- err
		}()
		if _, err := io.ReadFull(c, back); err != nil || !bytes.Equal(back, data) {
			p.Fatalf("server read of %d: %v", size, err)
		}
		if err := <-errs; err != nil {
			p.Fatal(err)
		}
	}
	if err := c.CloseWrite(); err != nil {
		p.Fatal(err)
	}
	if n, err := p.client.Read(got); n != 0 || err != io.EOF {
		p.Errorf("client read %d, %v after the end", n, err)
	}
	p.client.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		p.Errorf("server read %d, %v after the end", n, err)
	}
}

// kinds are all ways to be connected.
func kinds() map[string]clientConfig {
	out := map[string]clientConfig{}
	for _, tickets := range []bool{false, true} {
		out[fmt.Sprintf("1.3 tickets %v", tickets)] = clientConfig{version: tls.VersionTLS13, tickets: tickets}
		for id := range suites {
			if tls.CipherSuiteName(id)[:9] == "TLS_ECDHE" && bytes.Contains([]byte(tls.CipherSuiteName(id)), []byte("ECDSA")) {
				out[fmt.Sprintf("%s tickets %v", tls.CipherSuiteName(id), tickets)] = clientConfig{version: tls.VersionTLS12, suite: id, tickets: tickets}
			}
		}
	}
	return out
}

func TestSessionGoesOnWhereTheHandshakeEnded(t *testing.T) {
	server := &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}
	server.SetSessionTicketKeys([][32]byte{{1}})
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			if kind.tickets {
				kind.cache = tls.NewLRUClientSessionCache(1)
			}
			for _, resumed := range []bool{false, kind.tickets, kind.tickets} {
				p := shake(t, server, kind, "GET / HTTP/1.1\r\n\r\n")
				if got := p.client.ConnectionState().DidResume; got != resumed {
					t.Errorf("resumed: %v, want %v", got, resumed)
				}
				if p.err != nil {
					t.Fatal(p.err)
				}
				p.exchange("GET / HTTP/1.1\r\n\r\n")
			}
		})
	}
}

// The suites of TLS 1.3 cannot be chosen, so both directions of each are tried
// against each other.
func TestHalvesFit(t *testing.T) {
	for id, s := range suites {
		secret := bytes.Repeat([]byte{7}, s.hash().Size())
		h, err := s.half13(id, secret)
		if err != nil {
			t.Fatal(err)
		}
		h.Seq = 1 << 40
		sealer, err := h.sealer()
		if err != nil {
			t.Fatal(err)
		}
		opener, err := h.opener()
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			rec := sealer.Append(nil, TypeApplication, []byte("some bytes"))
			plain, n, err := opener.Next(rec)
			if err != nil || n != len(rec) || string(plain) != "some bytes" {
				t.Errorf("%s: %q, %d, %v", tls.CipherSuiteName(id), plain, n, err)
			}
		}
	}
}

func TestWhatIsNotDataEndsTheSession(t *testing.T) {
	s := suites[tls.TLS_AES_128_GCM_SHA256]
	h, err := s.half13(tls.TLS_AES_128_GCM_SHA256, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	record := func(contentType byte, content string) []byte {
		sealer, err := h.sealer()
		if err != nil {
			t.Fatal(err)
		}
		return sealer.Append(nil, contentType, []byte(content))
	}
	forged := record(TypeApplication, "data")
	forged[len(forged)-1] ^= 1
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"close_notify":  {record(TypeAlert, "\x01\x00"), ErrClosed},
		"fatal alert":   {record(TypeAlert, "\x02\x28"), ErrClosed},
		"KeyUpdate":     {record(TypeHandshake, "\x18\x00\x00\x01\x01"), ErrSurprise},
		"no type":       {record(0, ""), ErrSurprise},
		"forged":        {forged, ErrBroken},
		"plain alert":   {[]byte("\x15\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), ErrBroken},
		"not TLS":       {[]byte("GET / HTTP/1.1"), ErrSurprise},
		"too long":      {[]byte("\x17\x03\x03\xff\xff"), ErrSurprise},
		"without a tag": {[]byte("\x17\x03\x03\x00\x01a"), ErrSurprise},
	} {
		o, err := h.opener()
		if err != nil {
			t.Fatal(err)
		}
		if plain, _, err := o.Next(test.data); !errors.Is(err, test.want) {
			t.Errorf("%s: %q, %v, want %v", name, plain, err, test.want)
		}
	}
}

// A client that announces a long hello and sends it slowly is not waited for with
// all of that in memory.
func TestLongHelloIsNotKept(t *testing.T) {
	far, near := net.Pipe()
	defer far.Close()
	defer near.Close()
	if err := near.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = far.Write(append([]byte("\x16\x03\x01\xff\xff"), make([]byte, maxHello)...)) // the rest never comes
	}()
	if got, err := NewTap(near).Hello(); err != nil || len(got) < maxHello || len(got) > maxHello+readSize {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestTakeRefusesWhatItCannotExplain(t *testing.T) {
	tap := NewTap(nil)
	tap.secrets = map[string][]byte{}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12, tls.VersionTLS11} {
		if s, err := tap.Take(version, tls.TLS_AES_128_GCM_SHA256); err == nil {
			t.Errorf("version %#x: got %v without keys", version, s)
		}
	}
	for _, label := range []string{"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "SERVER_HANDSHAKE_TRAFFIC_SECRET"} {
		tap.secrets[label] = make([]byte, 32)
	}
	tap.last = []byte("\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	if s, err := tap.Take(tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256); err == nil {
		t.Errorf("got %v although the last record is nobody's", s)
	}
	if s, err := tap.Take(tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA); err == nil {
		t.Errorf("got %v of a suite without AEAD", s)
	}
}
