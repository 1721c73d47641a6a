package httpd

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// nginxConfig makes a plain nginx serve the fixture's tree.
const nginxConfig = `daemon off;
user root;
pid DIR/pid;
error_log DIR/error.log;
events {}
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log off;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
  server { listen ADDR; root TREE; autoindex on; server_tokens off; disable_symlinks off; }
}
`

// nginx serves the fixture's tree too; its address is returned.
func (f *fixture) nginx() string {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.must(err)
	addr := l.Addr().String()
	l.Close()
	dir := f.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("DIR", dir, "ADDR", addr, "TREE", f.path("")).Replace(nginxConfig)
	f.must(os.WriteFile(config, []byte(text), 0o644))
	cmd := exec.CommandContext(f.Context(), "nginx", "-c", config, "-p", dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	f.must(cmd.Start())
	f.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err == nil {
			_ = cmd.Wait() // how it ends does not matter
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		}
	}
	f.Fatal("nginx does not answer")
	return ""
}

// Header by header, nginx 1.22 on the same tree. What differs, differs on
// purpose:
//
//   - Server names the program; Connection is not said where it is the default.
//   - Content-Type comes from our own table (deb, rpm, plain text names).
//   - Cache-Control and Vary are ours: metadata is revalidated, packages are kept.
//   - Accept-Ranges is also on 206 and 304, where caches want to see it.
//   - Pages (errors, redirects, listings) have their own text and so length, and
//     are not to be cached; listings have validators.
//   - 405 names the methods that are allowed, as RFC 9110 asks.
//   - The parts of several ranges are parted by another boundary.
//   - A redirect names the path only, so that it keeps scheme and name.
func TestHeadersAgainstNginx(t *testing.T) {
	f := newFixture(t)
	peer := &fixture{TB: t, addr: f.nginx()}
	const lastModified = "Fri, 02 Jan 2026 03:04:05 GMT"
	etag := f.get("HEAD", inRelease).Header.Get("ETag")
	for _, test := range []struct {
		name, method, target string
		header               []string
		page                 bool
	}{
		{name: "file", target: inRelease},
		{name: "head", method: "HEAD", target: inRelease},
		{name: "package", target: "/debian/pool/a%2Bb%3Ac%20d%2520%c3%a9.deb"},
		{name: "odd bytes", target: "/debian/pool/bad%ff.iso"},
		{name: "range", target: "/debian/pool/large.iso", header: []string{"Range: bytes=5-9"}},
		{name: "suffix", target: "/debian/pool/large.iso", header: []string{"Range: bytes=-5"}},
		{name: "range beyond", target: inRelease, header: []string{"Range: bytes=99-"}, page: true},
		{name: "if-range", target: inRelease, header: []string{"Range: bytes=0-0", "If-Range: " + lastModified}},
		{name: "if-range other", target: inRelease, header: []string{"Range: bytes=0-0", `If-Range: "x"`}},
		{name: "not modified", target: inRelease, header: []string{"If-Modified-Since: " + lastModified}},
		{name: "not modified by tag", target: inRelease, header: []string{"If-None-Match: " + etag}},
		{name: "weak tag", target: inRelease, header: []string{"If-None-Match: W/" + etag}},
		{name: "tag before date", target: inRelease, header: []string{`If-None-Match: "x"`, "If-Modified-Since: " + lastModified}},
		{name: "modified since", target: inRelease, header: []string{"If-Unmodified-Since: Thu, 01 Jan 2026 00:00:00 GMT"}, page: true},
		{name: "several ranges", target: "/debian/pool/large.iso", header: []string{"Range: bytes=0-1,70000-70001"}, page: true},
		{name: "first or nothing", target: inRelease, header: []string{"Range: bytes=0-"}},
		{name: "unknown unit", target: inRelease, header: []string{"Range: lines=1-2"}},
		{name: "post", method: "POST", target: inRelease, header: []string{unusual}, page: true},
		{name: "head of a listing", method: "HEAD", target: "/debian/pool/", page: true},
		{name: "head of what is missing", method: "HEAD", target: "/debian/nothing", page: true},
		{name: "query", target: inRelease + "?a=b"},
		{name: "link", target: "/debian/dists/trixie/InRelease"},
		{name: "precondition", target: inRelease, header: []string{`If-Match: "x"`}, page: true},
		{name: "missing", target: "/debian/nothing", page: true},
		{name: "above the root", target: "/../x", page: true},
		{name: "zero byte", target: "/%00", page: true},
		{name: "dots", target: "/debian/./pool//../dists/stable/InRelease"},
		{name: "no slash", target: "/debian", page: true},
		{name: "listing", target: "/debian/pool/", page: true},
		{name: "file as directory", target: inRelease + "/", page: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			ours := (&fixture{TB: t, addr: f.addr}).get(method, test.target, test.header...)
			theirs := (&fixture{TB: t, addr: peer.addr}).get(method, test.target, test.header...)
			for _, r := range []*reply{&ours, &theirs} {
				for _, name := range []string{"Server", "Date", "Connection", "Content-Type", "Cache-Control", "Vary", "Accept-Ranges"} {
					r.Header.Del(name)
				}
				if test.page {
					r.Body = ""
					for _, name := range []string{"Content-Length", "Etag", "Last-Modified", "Retry-After", "Allow"} {
						r.Header.Del(name)
					}
				}
				if location := r.Header.Get("Location"); location != "" {
					_, path, _ := strings.Cut(strings.TrimPrefix(location, "http://"), "/")
					r.Header.Set("Location", "/"+path)
				}
			}
			if diff := cmp.Diff(theirs, ours); diff != "" {
				t.Errorf("-nginx +ours:\n%s", diff)
			}
		})
	}
}
