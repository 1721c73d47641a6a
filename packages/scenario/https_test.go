//go:build vm

package scenario

import (
	"bytes"
	"context"
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

// secureNode is a machine with a node, and an authority on this computer.
type secureNode struct {
	*testing.T
	m         *vm.VM
	authority *pebble.Server
	logs      string // what the authority says
	roots     string // file of the authority's root
	pool      *x509.CertPool
	upstream  string // the demo upstream's folder
	tree      string // of demo-files
	large     []byte // hash of its large file
}

// secureOptions are what differs between the scenarios.
type secureOptions struct {
	validity time.Duration // of certificates
	large    int64         // size of the large file
	through  func(t *testing.T, node int) (port int)
	project  string // a further one, that upstream does not have
	disk     int64
}

// newSecureNode makes the machine and leaves it off. Challenges are fetched from
// its port 80, or through something before it.
func newSecureNode(t *testing.T, o secureOptions) *secureNode {
	t.Helper()
	n := &secureNode{T: t, logs: t.TempDir(), roots: filepath.Join(t.TempDir(), "root.pem"), pool: x509.NewCertPool()}
	plain := freePort(t)
	challenges := plain
	if o.through != nil {
		challenges = o.through(t, plain)
	}
	var err error
	if n.authority, err = pebble.Start(t.Context(), pebble.Config{
		Dir: n.logs, HTTPPort: challenges, Addresses: []string{"10.0.2.2"}, RejectNonce: 10, Validity: o.validity,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.authority.Close)
	root, err := n.authority.Root(t.Context())
	if err != nil || !n.pool.AppendCertsFromPEM(root) || os.WriteFile(n.roots, root, 0o644) != nil {
		t.Fatalf("the authority's root: %v", err)
	}
	dir, up := upstream(t, o.large)
	n.upstream, n.tree = dir, demo.Tree(dir, demo.Files)
	n.large = hashOf(t, filepath.Join(n.tree, demo.LargeFile))
	n.m = vm.Prepare(t, vm.Config{Image: n.image(up.Port(), o), Ports: map[int]int{80: plain, 443: 0}, Timeout: 15 * time.Minute, Size: o.disk})
	return n
}

// image writes the disk of a node that knows the authority. This computer may read
// its figures.
func (n *secureNode) image(upstream int, o secureOptions) string {
	n.Helper()
	out := filepath.Join(n.TempDir(), "node.img")
	if err := Image(n.Context(), out, ImageOptions{
		Kind: Shipped, Upstream: fmt.Sprintf("10.0.2.2:%d", upstream),
		Fleet: func(f map[string]any) {
			f["firewall"] = map[string]any{"allow": []string{"10.0.2.0/24"}}
			f["http"] = map[string]any{"exempt": []string{"10.0.2.0/24"}}
			f["acme"] = map[string]any{"directory": fmt.Sprintf("https://10.0.2.2:%d/dir", n.authority.Port), "ca": string(n.authority.CA)}
			if o.project != "" {
				f["projects"].(map[string]any)[o.project] = map[string]any{"title": o.project, "kind": "files", "path": o.project,
					"upstream": map[string]any{"module": o.project}, "size": "1M", "files": 1}
			}
		},
		Node: func(v map[string]any) {
			v["aliases"] = []string{"alias.mirror.example"}
			if o.project != "" {
				v["projects"] = append(v["projects"].([]any), o.project)
			}
		},
	}); err != nil {
		n.Fatal(err)
	}
	return out
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

func hashOf(t *testing.T, file string) []byte {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil)
}

// secured switches the machine on and waits until it serves by TLS.
func (n *secureNode) secured() *x509.Certificate {
	n.Helper()
	n.m.PowerOn()
	n.m.Wait(`mm httpd: serving on`)
	n.m.Wait(`mm httpd: https with a certificate for .*` + nodeName)
	return n.certificate()
}

// A node that boots without a certificate gets one, and serves real clients with
// it, by the kernel's TLS.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	n := newSecureNode(t, secureOptions{large: 8 << 20})
	n.secured()
	n.m.Wait(`mm httpd: the kernel seals what https sends`)
	if said(n.m, "mm acmed: no certificate") > 0 {
		t.Error("an attempt failed, perhaps before the network was up")
	}
	n.m.Get("/demo-files/README.txt") // is published
	n.m.Get("/demo-debian/dists/" + demo.Suite + "/InRelease")
	n.Run("curl", n.useCurl)
	n.Run("go", func(t *testing.T) { n.useGo(t, 1<<20) })
	n.Run("openssl", n.useOpenSSL)
	n.Run("apt", n.useSecureApt)
	n.Run("plain", n.usePlain)
	n.Run("metrics", n.readMetrics)
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

// transport reaches the node under whatever name.
func (n *secureNode) transport(c *tls.Config) *http.Transport {
	return &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: time.Minute}, Config: c}
		return d.DialContext(ctx, "tcp", n.m.Addr(443))
	}}
}

// certificate asks for something and returns what the node proved itself with.
func (n *secureNode) certificate() *x509.Certificate {
	n.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); ; <-tick.C { // the port opens a moment after it is announced
		conn, err := n.dial(n.config(tls.VersionTLS13))
		if err == nil {
			err = ping(conn)
			defer conn.Close()
		}
		if err == nil {
			return conn.ConnectionState().PeerCertificates[0]
		}
		if time.Now().After(end) {
			n.Fatal(err)
		}
	}
}

// ping asks for something small on a connection, which stays open.
func ping(conn *tls.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	answer := make([]byte, 4<<10)
	for at := 0; at < len(answer); {
		got, err := conn.Read(answer[at:])
		if err != nil {
			return err
		}
		if at += got; bytes.HasSuffix(answer[:at], []byte("\r\n\r\n")) {
			return nil
		}
	}
	return errors.New("the answer does not end")
}

func (n *secureNode) useCurl(t *testing.T) {
	for name, args := range map[string][]string{
		"1.3": {"--tlsv1.3"}, "1.2": {"--tls-max", "1.2"}, "AES-256": {"--tls13-ciphers", "TLS_AES_256_GCM_SHA384"},
		"ChaCha": {"--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"},
	} {
		n.curlLarge(t, name, args...)
	}
}

// curlLarge fetches the large file, by name, with the authority's root only.
func (n *secureNode) curlLarge(t *testing.T, name string, args ...string) {
	_, port, err := net.SplitHostPort(n.m.Addr(443))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "curl", append(args, "-sS", "--cacert", n.roots, "--resolve", nodeName+":"+port+":127.0.0.1",
		"https://"+nodeName+":"+port+"/demo-files/"+demo.LargeFile)...)
	got := sha256.New()
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = got, &complaint
	if err := cmd.Run(); err != nil || !bytes.Equal(got.Sum(nil), n.large) {
		t.Errorf("%s: not the file, %v: %s", name, err, &complaint)
	}
}

// useGo asks for pieces of all sizes up to one, on resumed connections.
func (n *secureNode) useGo(t *testing.T, most int) {
	want, err := os.ReadFile(filepath.Join(n.tree, demo.LargeFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		config := n.config(version)
		for _, size := range []int{1, 2, 16383, 16384, 16385, most} {
			transport := n.transport(config)
			got, err := fetch(transport, "https://"+nodeName+"/demo-files/"+demo.LargeFile, size)
			transport.CloseIdleConnections()
			if err != nil || !bytes.Equal(got, want[1:1+size]) {
				t.Errorf("version %#x: %d bytes: got %d, %v", version, size, len(got), err)
			}
		}
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

func (n *secureNode) useSecureApt(t *testing.T) {
	source := fmt.Sprintf("deb [signed-by=%s] https://%s/%s %s main", demo.PublicKey(n.upstream), n.m.Addr(443), demo.Debian, demo.Suite)
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

// usePlain speaks plain HTTP where TLS is spoken.
func (n *secureNode) usePlain(t *testing.T) {
	resp, err := http.Get("http://" + n.m.Addr(443) + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("https://")) {
		t.Errorf("%s, %v: %s", resp.Status, err, body)
	}
}

// readMetrics checks that the node knows who sealed: the kernel AES-GCM, the
// server ChaCha20.
func (n *secureNode) readMetrics(t *testing.T) {
	metrics := string(n.m.Get("/metrics"))
	for series, least := range map[string]float64{
		`micromirror_tls_connections{by="kernel"}`: 10, `micromirror_tls_connections{by="loop"}`: 1,
		`micromirror_tls_handshakes{kind="resumed"}`: 10,
	} {
		_, rest, _ := strings.Cut(metrics, "\n"+series+" ")
		value, _, _ := strings.Cut(rest, "\n")
		if got, err := strconv.ParseFloat(value, 64); err != nil || got < least {
			t.Errorf("%s is %q, want at least %v", series, value, least)
		}
	}
}
