package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/authority"
	"micromirror/packages/certificate"
	"micromirror/packages/handshake"
)

// newHTTPS prepares the TLS side. Its port stays closed until certify.
func (f *fixture) newHTTPS(ctx context.Context, log *slog.Logger) *HTTPS {
	f.Helper()
	port, err := handshake.Bind(ctx, "127.0.0.1:0")
	f.must(err)
	addr, err := port.Addr()
	f.must(err)
	f.https = addr.String()
	keeper := certificate.Follow(ctx, filepath.Join(f.dir, "acme", certificate.File), 10*time.Millisecond, log)
	return &HTTPS{Port: port, Keeper: keeper, Kernel: true}
}

// certify puts a certificate into force and waits for it. The authority's own is
// in the file ca.pem.
func (f *fixture) certify(until time.Time, name string) *authority.Authority {
	f.Helper()
	ca, err := authority.New()
	f.must(err)
	data, err := ca.Issue(until, name, "mirror.example", "127.0.0.1")
	f.must(err)
	f.must(os.WriteFile(filepath.Join(f.dir, "ca.pem"), ca.PEM(), 0o644))
	stage := filepath.Join(f.dir, "certificate")
	f.must(os.WriteFile(stage, data, 0o600))
	f.must(os.Rename(stage, filepath.Join(f.dir, "acme", certificate.File)))
	for end := time.Now().Add(20 * time.Second); ; {
		conn, err := tls.Dial("tcp", f.https, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			got := conn.ConnectionState().PeerCertificates[0].DNSNames[0]
			conn.Close()
			if got == name {
				return ca
			}
		}
		if time.Now().After(end) {
			f.Fatalf("no certificate for %s: %v", name, err)
		}
	}
}

// newSecure is a fixture with a certificate.
func newSecure(t *testing.T) (*fixture, *authority.Authority) {
	f := newFixture(t)
	return f, f.certify(time.Now().Add(time.Hour), "test.mirror.example")
}

// versions are the ways to connect.
func versions() map[string]uint16 {
	return map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
}

// session is a client that resumes.
func session(ca *authority.Authority, version uint16) *tls.Config {
	return &tls.Config{
		RootCAs: ca.Pool(), ServerName: "mirror.example", MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(4), NextProtos: []string{"http/1.1"},
	}
}

// secureAsk sends raw bytes over a new connection and reads n responses.
func (f *fixture) secureAsk(c *tls.Config, method, raw string, n int) ([]reply, tls.ConnectionState) {
	f.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", f.https, c)
	f.must(err)
	defer conn.Close()
	f.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	_, err = io.WriteString(conn, raw)
	f.must(err)
	r := bufio.NewReader(conn)
	var out []reply
	for range n {
		out = append(out, f.read(r, method))
	}
	return out, conn.ConnectionState()
}

func TestHTTPSAnswersAsHTTP(t *testing.T) {
	f, ca := newSecure(t)
	requests := map[string]struct{ method, raw string }{
		"file":          {"GET", request("GET", "/debian/dists/stable/InRelease")},
		"large":         {"GET", request("GET", "/debian/pool/large.iso")},
		"head":          {"HEAD", request("HEAD", "/debian/pool/large.iso")},
		"range":         {"GET", request("GET", "/debian/pool/large.iso", "Range: bytes=70000-900000")},
		"ranges":        {"GET", request("GET", "/debian/pool/large.iso", "Range: bytes=1-20000,500000-600000")},
		"past the end":  {"GET", request("GET", "/debian/pool/large.iso", "Range: bytes=99999999-")},
		"not modified":  {"GET", request("GET", "/debian/pool/large.iso", "If-Modified-Since: "+modTime.Format(http.TimeFormat))},
		"listing":       {"GET", request("GET", "/debian/pool/")},
		"missing":       {"GET", request("GET", "/debian/nothing")},
		"not served":    {"GET", request("GET", "/epel/x")},
		"unusual":       {"GET", "GET /debian/dists/stable/InRelease HTTP/1.1\nHost: x\n\n"},
		"large unusual": {"GET", "GET /debian/pool/large.iso HTTP/1.1\nHost: x\n\n"},
		"post":          {"POST", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"},
	}
	for version, number := range versions() {
		for name, r := range requests {
			t.Run(version+" "+name, func(t *testing.T) {
				f.TB = t
				config := session(ca, number)
				for _, resumed := range []bool{false, true} {
					got, state := f.secureAsk(config, r.method, r.raw, 1)
					want := f.ask(r.method, r.raw, 1)
					got[0].Header.Del("Date")
					want[0].Header.Del("Date")
					if d := cmp.Diff(want, got); d != "" {
						t.Errorf("resumed %v: -http +https:\n%s", resumed, d)
					}
					if state.DidResume != resumed {
						t.Errorf("resumed: %v, want %v", state.DidResume, resumed)
					}
				}
			})
		}
	}
}

func TestPipelineOverTLS(t *testing.T) {
	f, ca := newSecure(t)
	one := request("GET", "/debian/dists/stable/InRelease")
	large := request("GET", "/debian/pool/large.iso")
	got, _ := f.secureAsk(session(ca, tls.VersionTLS13), "GET", strings.Repeat(one+large, 20), 40)
	for i, r := range got {
		want := len("Origin: Debian\n")
		if i%2 == 1 {
			want = 16 << 16
		}
		if r.Status != 200 || len(r.Body) != want {
			t.Errorf("response %d: status %d with %d bytes, want %d", i, r.Status, len(r.Body), want)
		}
	}
}

// secureClient runs a program that speaks TLS and returns what it wrote.
func (f *fixture) secureClient(stdin io.Reader, name string, args ...string) (string, error) {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), name, args...)
	cmd.Dir = f.TempDir()
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestClientsOverTLS(t *testing.T) {
	f, _ := newSecure(t)
	_, port, err := net.SplitHostPort(f.https)
	f.must(err)
	url := "https://mirror.example:" + port + "/debian/pool/large.iso"
	want, err := os.ReadFile(f.path("debian/pool/large.iso"))
	f.must(err)
	curl := []string{"-sS", "--cacert", filepath.Join(f.dir, "ca.pem"), "--resolve", "mirror.example:" + port + ":127.0.0.1"}
	for name, args := range map[string][]string{
		"curl 1.3":        {"curl", "--tlsv1.3"},
		"curl 1.2":        {"curl", "--tlsv1.2", "--tls-max", "1.2"},
		"curl AES-256":    {"curl", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384"},
		"curl ChaCha":     {"curl", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"},
		"curl 1.2 ChaCha": {"curl", "--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"},
		"curl slowly":     {"curl", "--limit-rate", "3M"},
		"curl twice":      {"curl", url, "-o", "/dev/null"},
	} {
		t.Run(name, func(t *testing.T) {
			f.TB = t
			got, err := f.secureClient(nil, args[0], append(append(args[1:], curl...), url)...)
			if err != nil || got != string(want) {
				t.Errorf("%d bytes, %v, want %d: %.200s", len(got), err, len(want), got)
			}
		})
	}
	t.Run("wget", func(t *testing.T) {
		f.TB = t
		got, err := f.secureClient(nil, "wget", "-q", "-O", "-", "--ca-certificate", filepath.Join(f.dir, "ca.pem"),
			"https://127.0.0.1:"+port+"/debian/pool/large.iso")
		if err != nil || got != string(want) {
			t.Errorf("%d bytes, %v, want %d: %.200s", len(got), err, len(want), got)
		}
	})
}

// What is offered is looked at with openssl.
func TestOffer(t *testing.T) {
	f, _ := newSecure(t)
	get := "GET /debian/dists/stable/InRelease HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for name, test := range map[string]struct {
		args        []string
		stdin, want string
		never       string // not even that
	}{
		"AES-GCM comes first": {nil, get, `Cipher is TLS_AES_128_GCM_SHA256`, ""},
		"1.2 has AEAD":        {[]string{"-tls1_2"}, get, `Cipher is ECDHE-ECDSA-AES128-GCM-SHA256`, ""},
		"1.2 has no CBC":      {[]string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"}, get, `handshake failure`, ""},
		"1.1 is gone":         {[]string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, get, `alert protocol version|no protocols available`, ""},
		"HTTP/1.1 by ALPN":    {[]string{"-alpn", "h2,http/1.1"}, get, `ALPN protocol: http/1.1`, ""},
		"no renegotiation":    {[]string{"-tls1_2"}, "R\n", `RENEGOTIATING`, `(?s)RENEGOTIATING.*verify`},
		"secure extension":    {[]string{"-tls1_2"}, get, `Secure Renegotiation IS supported`, ""},
		"no compression":      {[]string{"-tls1_2"}, get, `Compression: NONE`, ""},
		"no early data":       {nil, get, `Max Early Data: 0|Early data was not sent`, ""},
		"key update ends it":  {nil, "K\n", `KEYUPDATE`, ""},
		"answer":              {[]string{"-quiet"}, get, `(?s)HTTP/1.1 200 OK.*Origin: Debian`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f.TB = t
			args := append([]string{"s_client", "-connect", f.https, "-ign_eof", "-CAfile", filepath.Join(f.dir, "ca.pem")}, test.args...)
			if len(test.stdin) < 5 { // a command of s_client
				args = append([]string{"s_client", "-connect", f.https}, test.args...)
			}
			out, _ := f.secureClient(&lines{strings.NewReader(test.stdin), f.Context()}, "openssl", args...)
			if !regexp.MustCompile(test.want).MatchString(out) {
				t.Errorf("openssl says\n%s\nwant %s", out, test.want)
			}
			if test.never != "" && regexp.MustCompile(test.never).MatchString(out) {
				t.Errorf("openssl says\n%s\nwant nothing like %s", out, test.never)
			}
		})
	}
}

// lines keeps a program's input open until the server ends the connection.
type lines struct {
	*strings.Reader
	ctx context.Context
}

func (l *lines) Read(p []byte) (int, error) {
	if n, err := l.Reader.Read(p); err == nil {
		return n, nil
	}
	<-l.ctx.Done()
	return 0, io.EOF
}

func TestCertificateChangesUnderRunningConnections(t *testing.T) {
	f, ca := newSecure(t)
	conn, err := tls.Dial("tcp", f.https, session(ca, tls.VersionTLS13))
	f.must(err)
	defer conn.Close()
	r := bufio.NewReader(conn)
	ask := func() {
		t.Helper()
		_, err := io.WriteString(conn, request("GET", "/debian/dists/stable/InRelease"))
		f.must(err)
		if got := f.read(r, "GET"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
	}
	ask()
	f.certify(time.Now().Add(time.Hour), "renewed.mirror.example")
	ask()
	f.certify(time.Now().Add(-time.Hour), "expired.mirror.example")
	ask()
	if got := f.get("GET", "/debian/dists/stable/InRelease"); got.Status != 200 {
		t.Errorf("http with an expired certificate: %d", got.Status)
	}
}

func TestNoCertificateClosesThePort(t *testing.T) {
	f := newFixture(t)
	if conn, err := net.Dial("tcp", f.https); err == nil {
		conn.Close()
		t.Error("the port is open")
	}
	if got := f.get("GET", "/debian/dists/stable/InRelease"); got.Status != 200 {
		t.Errorf("http without a certificate: %d", got.Status)
	}
	f.must(os.MkdirAll(filepath.Join(f.dir, "run/acmed/challenge"), 0o755))
	f.must(os.WriteFile(filepath.Join(f.dir, "run/acmed/status.json"), []byte(`{"state":"none","reason":"CA is <down>"}`), 0o644))
	f.must(os.WriteFile(filepath.Join(f.dir, "run/acmed/challenge/tok_en-1"), []byte("tok_en-1.thumb"), 0o644))
	for target, want := range map[string]string{
		"/.well-known/acme-challenge/tok_en-1": "tok_en-1.thumb",
		"/":                                    "HTTPS: no certificate: CA is &lt;down&gt;",
		"/status.json":                         "CA is",
		"/metrics":                             `micromirror_certificate_trouble{reason="no certificate: CA is <down>"} 1`,
	} {
		f.eventually(target, want)
	}
	for _, target := range []string{"other", "", "..", "%2e%2e%2fstatus.json", "tok_en-1/", strings.Repeat("a", 300)} {
		if got := f.get("GET", "/.well-known/acme-challenge/"+target); got.Status == 200 {
			t.Errorf("%q: %+v", target, got)
		}
	}
}

// eventually asks until the answer holds a text: files are read once a second.
func (f *fixture) eventually(target, want string) {
	f.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		got := f.get("GET", target)
		if got.Status == 200 && strings.Contains(got.Body, want) {
			return
		}
		if time.Now().After(end) {
			f.Fatalf("%s: %+v does not hold %s", target, got, want)
		}
	}
}

func TestWrongProtocolGetsAnAnswer(t *testing.T) {
	f, _ := newSecure(t)
	conn, err := net.Dial("tcp", f.https)
	f.must(err)
	defer conn.Close()
	f.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	_, err = io.WriteString(conn, request("GET", "/"))
	f.must(err)
	if got := f.read(bufio.NewReader(conn), "GET"); got.Status != http.StatusBadRequest || !strings.Contains(got.Body, "https://") {
		t.Errorf("plain HTTP on the TLS port: %+v", got)
	}
	_, err = tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", f.addr, &tls.Config{InsecureSkipVerify: true})
	var not tls.RecordHeaderError
	if !errors.As(err, &not) || string(not.RecordHeader[:]) != "HTTP/" {
		t.Errorf("TLS on the HTTP port: %v", err)
	}
}

func TestTLSIsLoggedAndCounted(t *testing.T) {
	f, ca := newSecure(t)
	for _, version := range versions() {
		config := session(ca, version)
		for range 2 {
			f.secureAsk(config, "GET", request("GET", "/debian/dists/stable/InRelease"), 1)
			f.secureAsk(config, "GET", "GET /debian/dists/stable/InRelease HTTP/1.1\nHost: x\n\n", 1)
		}
	}
	metrics := f.get("GET", "/metrics").Body
	for _, want := range []string{
		`micromirror_tls_connections{by="standard"} 0`, `micromirror_tls_handshakes{kind="resumed"} 6`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("%q is missing in\n%s", want, metrics)
		}
	}
	f.stop()
	log := f.accessLog()
	for _, version := range []string{"1.2", "1.3"} {
		if n := bytes.Count(log, []byte(" "+version+" 4 ")); n != 4 {
			t.Errorf("TLS %s is logged %d times, want 4:\n%s", version, n, log)
		}
	}
}

// pieces is a connection on which the client's hello goes out in two records.
type pieces struct {
	net.Conn
	cut bool
}

func (p *pieces) Write(data []byte) (int, error) {
	const header, first = 5, 10
	if p.cut {
		return p.Conn.Write(data)
	}
	p.cut = true
	kind, content := data[:3], data[header:]
	out := append(bytes.Clone(kind), 0, first)
	out = append(out, content[:first]...)
	out = append(out, kind...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(content)-first))
	_, err := p.Conn.Write(append(out, content[first:]...))
	return len(data), err
}

// A session that cannot be taken over stays with crypto/tls and is served all the
// same, but only so many of them.
func TestUnexplainedSessionsAreFew(t *testing.T) {
	f, ca := newSecure(t)
	connect := func() (*tls.Conn, error) {
		socket, err := net.DialTimeout("tcp", f.https, 20*time.Second)
		f.must(err)
		t.Cleanup(func() { socket.Close() })
		f.must(socket.SetDeadline(time.Now().Add(20 * time.Second)))
		conn := tls.Client(&pieces{Conn: socket}, session(ca, tls.VersionTLS12))
		f.must(conn.Handshake())
		_, err = io.WriteString(conn, request("GET", "/debian/pool/large.iso"))
		f.must(err)
		_, err = conn.Read(make([]byte, 1))
		return conn, err
	}
	var last *tls.Conn
	for i := range maxStandard {
		conn, err := connect()
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		last = conn
	}
	if _, err := connect(); err == nil {
		t.Error("one more is served")
	}
	last.Close()
	for end := time.Now().Add(20 * time.Second); ; {
		if _, err := connect(); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("none is served after one has gone")
		}
	}
	if metrics := f.get("GET", "/metrics").Body; strings.Contains(metrics, `micromirror_tls_connections{by="standard"} 0`) {
		t.Error("the sessions were explained")
	}
}

// accessLog reads what was logged, wherever it lies.
func (f *fixture) accessLog() []byte {
	f.Helper()
	var all []byte
	f.must(filepath.WalkDir(filepath.Join(f.dir, "logs"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all = append(all, data...)
		return err
	}))
	return all
}

// Clients that stall in every possible place cost others nothing.
func TestStalledTLSClientsDelayNobody(t *testing.T) {
	f, ca := newSecure(t)
	const crowd = 150 // of each kind
	kinds := []func(net.Conn){
		func(net.Conn) {}, // nothing at all
		func(c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01") }, // half a hello
		func(c net.Conn) { f.stallEstablished(c, ca, "GET /debian/pool/la") },
		func(c net.Conn) {
			f.stallEstablished(c, ca, strings.Repeat(request("GET", "/debian/pool/large.iso"), 20))
		},
		// Last, for it takes all handshakes that its network may have.
		func(c net.Conn) { go stallAfterHello(c) },
	}
	for _, kind := range kinds {
		for range crowd {
			conn, err := net.Dial("tcp", f.https)
			f.must(err)
			defer conn.Close()
			kind(conn)
		}
	}
	// Everybody else comes from another network.
	dialer := &net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, 1)}}
	for range 20 {
		conn, err := tls.DialWithDialer(dialer, "tcp", f.https, session(ca, tls.VersionTLS13))
		f.must(err)
		_, err = io.WriteString(conn, request("GET", "/debian/dists/stable/InRelease"))
		f.must(err)
		if got := f.read(bufio.NewReader(conn), "GET"); got.Status != 200 {
			t.Errorf("status %d", got.Status)
		}
		conn.Close()
	}
	if got := f.get("GET", "/debian/dists/stable/InRelease"); got.Status != 200 {
		t.Errorf("http: %d", got.Status)
	}
}

// stallAfterHello sends a good ClientHello and reads nothing.
func stallAfterHello(c net.Conn) {
	// The handshake never ends: what it reads is not passed on.
	_ = tls.Client(deaf{c}, &tls.Config{InsecureSkipVerify: true}).Handshake()
}

// deaf is a connection that throws away what arrives.
type deaf struct{ net.Conn }

func (d deaf) Read([]byte) (int, error) {
	_, err := io.Copy(io.Discard, d.Conn)
	return 0, errors.Join(io.ErrUnexpectedEOF, err)
}

// stallEstablished makes the handshake, sends a text and reads nothing.
func (f *fixture) stallEstablished(c net.Conn, ca *authority.Authority, text string) {
	f.Helper()
	conn := tls.Client(c, session(ca, tls.VersionTLS13))
	f.must(conn.Handshake())
	_, err := io.WriteString(conn, text)
	f.must(err)
}
