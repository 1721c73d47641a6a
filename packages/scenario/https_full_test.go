//go:build vm && full

package scenario

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/demo/client"
	"micromirror/packages/pebble"
	"micromirror/packages/vm"
)

const nodeName = "demo.mirror.example"

// secureNode is a booted node with an authority on this computer.
type secureNode struct {
	*testing.T
	m     *vm.VM
	roots string // file of the authority's root
	pool  *x509.CertPool
	tree  string // of demo-files
}

// A node that boots without a certificate gets one, serves with it by the kernel's
// TLS to real clients, keeps it over a power cut, and renews it.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	authority, err := pebble.Start(t.Context(), pebble.Config{
		Dir: t.TempDir(), HTTPPort: port, Addresses: []string{"10.0.2.2"}, RejectNonce: 10, Validity: 10 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(authority.Close)
	dir, up := upstream(t, 64<<20)
	image := filepath.Join(t.TempDir(), "node.img")
	if err := Image(t.Context(), image, ImageOptions{
		Kind: Shipped, Upstream: fmt.Sprintf("10.0.2.2:%d", up.Port()),
		Fleet: func(f map[string]any) {
			f["acme"] = map[string]any{"directory": fmt.Sprintf("https://10.0.2.2:%d/dir", authority.Port), "ca": string(authority.CA)}
		},
		Node: func(n map[string]any) { n["aliases"] = []string{"alias.mirror.example"} },
	}); err != nil {
		t.Fatal(err)
	}
	n := &secureNode{T: t, roots: filepath.Join(t.TempDir(), "root.pem"), pool: x509.NewCertPool(), tree: demo.Tree(dir, demo.Files)}
	root, err := authority.Root(t.Context())
	if err != nil || !n.pool.AppendCertsFromPEM(root) || os.WriteFile(n.roots, root, 0o644) != nil {
		t.Fatalf("the authority's root: %v", err)
	}
	n.m = vm.Start(t, vm.Config{Image: image, Ports: map[int]int{80: port, 443: 0, 873: 0}, Timeout: 15 * time.Minute})
	n.m.Wait(`mm httpd: serving on`)
	n.m.Wait(`mm acmed: certificate for .*` + nodeName)
	n.m.Wait(`mm httpd: https with a certificate for`)
	before := n.certificate()
	n.m.Wait(`mm syncd: demo-files: published`)
	n.clients(dir)
	n.m.Wait(`mm acmed: certificate for .*` + nodeName) // the next one
	n.renewed(before)
	after := n.certificate()
	n.m.PowerCut()
	n.m.PowerOn()
	n.m.Wait(`mm httpd: https with a certificate for`)
	if got := n.certificate(); !got.Equal(after) {
		t.Errorf("after the power cut the certificate is another one, %v instead of %v", got.SerialNumber, after.SerialNumber)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// clients fetches by all kinds of programs.
func (n *secureNode) clients(dir string) {
	n.Run("curl", func(t *testing.T) { n.useCurl(t) })
	n.m.Wait(`mm httpd: the kernel seals what https sends`)
	n.Run("go", func(t *testing.T) { n.useGo(t) })
	n.Run("openssl", func(t *testing.T) { n.useOpenSSL(t) })
	n.m.Wait(`mm syncd: demo-debian: published`)
	n.Run("apt", func(t *testing.T) { n.useSecureApt(t, dir) })
}

func (n *secureNode) config(version uint16) *tls.Config {
	return &tls.Config{
		RootCAs: n.pool, ServerName: nodeName, MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(2),
	}
}

func (n *secureNode) dial(c *tls.Config) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", n.m.Addr(443), c)
}

func (n *secureNode) certificate() *x509.Certificate {
	n.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C { // the port opens a moment after it is announced
		conn, err := n.dial(n.config(tls.VersionTLS13))
		if err == nil {
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0]
		}
		if time.Now().After(end) {
			n.Fatal(err)
		}
	}
}

// renewed waits until the node serves with another certificate.
func (n *secureNode) renewed(old *x509.Certificate) {
	n.Helper()
	for end := time.Now().Add(time.Minute); n.certificate().Equal(old); {
		if time.Now().After(end) {
			n.Fatal("httpd does not take the new certificate")
		}
	}
}

func (n *secureNode) useCurl(t *testing.T) {
	_, port, err := net.SplitHostPort(n.m.Addr(443))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(n.tree, demo.LargeFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"1.3": {"--tlsv1.3"}, "1.2": {"--tls-max", "1.2"}, "AES-256": {"--tls13-ciphers", "TLS_AES_256_GCM_SHA384"},
		"ChaCha": {"--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"},
	} {
		cmd := exec.CommandContext(t.Context(), "curl", append(args, "-sS", "--cacert", n.roots, "--resolve", nodeName+":"+port+":127.0.0.1",
			"https://"+nodeName+":"+port+"/demo-files/"+demo.LargeFile)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		got, err := cmd.Output()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
			t.Errorf("%s: %d of %d bytes, %v: %s", name, len(got), len(want), err, &said)
		}
	}
}

// useGo asks for pieces of all sizes on resumed connections, and goes away in the
// middle of others.
func (n *secureNode) useGo(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(n.tree, demo.LargeFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		config := n.config(version)
		for _, size := range []int{1, 2, 16383, 16384, 16385, 1 << 20, 16 << 20} {
			transport := &http.Transport{DialTLS: func(string, string) (net.Conn, error) { return n.dial(config) }}
			got, err := fetch(transport, "https://"+nodeName+"/demo-files/"+demo.LargeFile, size)
			transport.CloseIdleConnections()
			if err != nil || !bytes.Equal(got, want[1:1+size]) {
				t.Errorf("version %#x: %d bytes: got %d, %v", version, size, len(got), err)
			}
		}
	}
	for range 20 {
		conn, err := n.dial(n.config(tls.VersionTLS13))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "GET /demo-files/%s HTTP/1.1\r\nHost: x\r\n\r\n", demo.LargeFile)
		if _, readErr := io.ReadFull(conn, make([]byte, 100_000)); err != nil || readErr != nil {
			t.Error(errors.Join(err, readErr))
		}
		// A reset, with megabytes on their way.
		if err := conn.NetConn().(*net.TCPConn).SetLinger(0); err != nil {
			t.Error(err)
		}
		conn.NetConn().Close()
	}
}

// fetch gets size bytes from the second one on.
func fetch(transport *http.Transport, url string, size int) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Range", "bytes=1-"+strconv.Itoa(size))
	resp, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// useOpenSSL looks at the end of a connection: it is announced.
func (n *secureNode) useOpenSSL(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", n.m.Addr(443), "-servername", nodeName,
		"-CAfile", n.roots, "-verify_return_error", "-ign_eof", "-msg")
	cmd.Stdin = strings.NewReader("GET /demo-files/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"Verify return code: 0 (ok)", "HTTP/1.1 200 OK", "close_notify"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%q is missing, %v:\n%s", want, err, out)
		}
	}
}

func (n *secureNode) useSecureApt(t *testing.T, dir string) {
	source := fmt.Sprintf("deb [signed-by=%s] https://%s/%s %s main", demo.PublicKey(dir), n.m.Addr(443), demo.Debian, demo.Suite)
	apt, err := client.NewApt(t.TempDir(), source)
	if err != nil {
		t.Fatal(err)
	}
	// The certificate is for the node's name, which this computer cannot look up.
	options := []string{"-o", "Acquire::https::CAInfo=" + n.roots, "-o", "Acquire::https::Verify-Host=false"}
	for _, args := range [][]string{{"update"}, {"download", "hello"}} {
		said, err := apt.Run(t.Context(), "apt-get", append(options, args...)...)
		must(t, said, err)
	}
}
