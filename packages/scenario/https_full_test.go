//go:build vm && full

package scenario

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"micromirror/packages/demo"
	"micromirror/packages/vm"
)

// Bodies of all sizes, a file of more than 4 GiB, a browser, and clients that go
// away in the middle.
func TestHTTPSLongRun(t *testing.T) {
	t.Parallel()
	const sparse, size = "demo-sparse", 5 << 30
	n := newSecureNode(t, secureOptions{large: 300 << 20, project: sparse})
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	n.editPerm(n.m.Disk().Path, "mkdir /mirror", "mkdir /mirror/"+sparse, "write "+empty+" /mirror/"+sparse+"/huge.img",
		fmt.Sprintf("sif /mirror/%s/huge.img size %d", sparse, int64(size)))
	n.secured()
	n.m.Get("/demo-files/README.txt") // is published
	n.Run("beyond 4 GiB", func(t *testing.T) { n.beyond4GiB(t, "/"+sparse+"/huge.img", size) })
	n.Run("go", func(t *testing.T) { n.useGo(t, 16<<20) })
	n.Run("resets", n.resets)
	n.Run("chromium", n.useChromium)
	n.Run("300 MiB", func(t *testing.T) {
		n.curlLarge(t, "by the kernel", "--tlsv1.3")
		n.curlLarge(t, "by the server", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256")
	})
	n.Run("metrics", n.readMetrics)
}

// beyond4GiB asks for ranges of a file of zeros around the 32-bit limits.
func (n *secureNode) beyond4GiB(t *testing.T, path string, size int64) {
	config := n.config(tls.VersionTLS13)
	transport := n.transport(config)
	defer transport.CloseIdleConnections()
	for _, r := range [][2]int64{{1<<31 - 3, 1<<31 + 3}, {1<<32 - 1, 1 << 32}, {1<<32 - 32<<20, 1<<32 + 32<<20}, {size - 1, size - 1}} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+nodeName+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r[0], r[1]))
		resp, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		got := sha256.New()
		_, err = io.Copy(got, resp.Body)
		resp.Body.Close()
		want := sha256.Sum256(make([]byte, r[1]-r[0]+1))
		name := fmt.Sprintf("bytes %d-%d/%d", r[0], r[1], size)
		if err != nil || !bytes.Equal(got.Sum(nil), want[:]) || resp.Header.Get("Content-Range") != name {
			t.Errorf("%s: %s %s, %v", name, resp.Status, resp.Header.Get("Content-Range"), err)
		}
	}
}

// resets goes away with megabytes on their way; others are served meanwhile.
func (n *secureNode) resets(t *testing.T) {
	for range 20 {
		conn, err := n.dial(n.config(tls.VersionTLS13))
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "GET /demo-files/%s HTTP/1.1\r\nHost: x\r\n\r\n", demo.LargeFile)
		if _, readErr := io.ReadFull(conn, make([]byte, 100_000)); err != nil || readErr != nil {
			t.Error(errors.Join(err, readErr))
		}
		if err := conn.NetConn().(*net.TCPConn).SetLinger(0); err != nil {
			t.Error(err)
		}
		conn.NetConn().Close()
	}
	n.certificate()
}

// browse is a page that fetches a part of a file and says what it got: its length
// and its Adler-32.
const browse = `<body><script>
var x = new XMLHttpRequest(); x.open('GET', '%s', false); x.overrideMimeType('text/plain; charset=x-user-defined');
x.setRequestHeader('Range', 'bytes=0-%d'); x.send();
for (var a = 1, b = 0, i = 0, t = x.responseText; i < t.length; i++) { a = (a + (t.charCodeAt(i) & 255)) %% 65521; b = (b + a) %% 65521 }
document.body.textContent = 'got ' + t.length + ' ' + (b * 65536 + a);
</script></body>`

// useChromium lets a browser fetch. It believes the key that the node has, since
// its own list of authorities is not to be touched.
func (n *secureNode) useChromium(t *testing.T) {
	const size = 20 << 20
	want, err := os.ReadFile(filepath.Join(n.tree, demo.LargeFile))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	url := "https://" + nodeName + "/demo-files/" + demo.LargeFile
	if err := os.WriteFile(page, fmt.Appendf(nil, browse, url, size-1), 0o644); err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(n.certificate().RawSubjectPublicKeyInfo)
	for address, text := range map[string]string{
		"https://" + nodeName + "/demo-files/": demo.LargeFile,
		"file://" + page:                       fmt.Sprintf("got %d %d", size, adler32.Checksum(want[:size])),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
			"--user-data-dir="+dir, "--disable-web-security", "--host-resolver-rules=MAP "+nodeName+" "+n.m.Addr(443),
			"--ignore-certificate-errors-spki-list="+base64.StdEncoding.EncodeToString(key[:]), "--dump-dom", address).Output()
		if err != nil || !bytes.Contains(out, []byte(text)) {
			t.Errorf("%s: %v, want %q in\n%.2000s", address, err, text, out)
		}
	}
}

// The certificate is renewed under running connections, and is there after a
// power cut.
func TestHTTPSRenewal(t *testing.T) {
	t.Parallel()
	n := newSecureNode(t, secureOptions{large: 1 << 20, validity: 6 * time.Minute})
	before := n.secured()
	running, err := n.dial(n.config(tls.VersionTLS13))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	after := before
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for end := time.Now().Add(15 * time.Minute); after.Equal(before); after = n.certificate() {
		<-tick.C
		if err := ping(running); err != nil {
			t.Fatalf("the connection from before: %v", err)
		}
		if time.Now().After(end) {
			t.Fatal("not renewed")
		}
	}
	if err := ping(running); err != nil {
		t.Errorf("the connection from before, with the new certificate: %v", err)
	}
	if starts := said(n.m, "mm httpd: serving on"); starts != 1 {
		t.Errorf("httpd was started %d times", starts)
	}
	issued := said(n.m, "mm acmed: certificate for")
	n.m.PowerCut()
	if got := n.secured(); !got.Equal(after) && said(n.m, "mm acmed: certificate for") == issued {
		t.Errorf("after the power cut the certificate is another one, %v instead of %v", got.SerialNumber, after.SerialNumber)
	}
}

// A power cut while the authority looks at the first of two names: the next boot
// goes on with the same order.
func TestHTTPSPowerCutInAnOrder(t *testing.T) {
	t.Parallel()
	asked := &challenges{fetched: make(chan struct{})}
	n := newSecureNode(t, secureOptions{large: 1 << 20, through: asked.serve})
	n.m.PowerOn()
	select {
	case <-asked.fetched:
	case <-time.After(15 * time.Minute):
		t.Fatal("the authority did not look")
	}
	n.m.PowerCut()
	n.secured()
	log, err := os.ReadFile(filepath.Join(n.logs, "pebble.log"))
	if err != nil {
		t.Fatal(err)
	}
	if orders := strings.Count(string(log), "POST /order-plz"); orders == 0 || strings.Contains(string(log), "There are now 2 orders in the db") {
		t.Errorf("not one order:\n%s", log)
	}
}

// challenges stands between the authority and the node's port 80. What the node has
// answered once is answered again without it, for the authority asks several times.
type challenges struct {
	mu      sync.Mutex
	known   map[string][]byte
	fetched chan struct{} // closed after the first answer
}

// serve begins to listen before the node's port and returns where.
func (c *challenges) serve(t *testing.T, node int) int {
	t.Helper()
	c.known = map[string][]byte{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := c.answer(r, node)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_, _ = w.Write(body) // the authority may have gone
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func (c *challenges) answer(r *http.Request, node int) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if body, ok := c.known[r.URL.Path]; ok {
		return body, nil
	}
	resp, err := http.Get("http://127.0.0.1:" + strconv.Itoa(node) + r.URL.Path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s, %w", resp.Status, err)
	}
	if len(c.known) == 0 {
		close(c.fetched)
	}
	c.known[r.URL.Path] = body
	return body, nil
}

// editPerm changes /perm of a disk image by commands of debugfs.
func (n *secureNode) editPerm(image string, commands ...string) {
	n.Helper()
	e, err := vm.Disk{Path: image}.Extent(vm.Perm)
	if err != nil {
		n.Fatal(err)
	}
	cmd := exec.CommandContext(n.Context(), "/usr/sbin/debugfs", "-w", "-f", "-", fmt.Sprintf("%s?offset=%d", image, e.Offset))
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if said, err := cmd.CombinedOutput(); err != nil {
		n.Fatalf("%v\n%s", err, said)
	}
}
