package fetch

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"micromirror/packages/chunk"
)

const nginxConfig = `user root;
pid DIR/pid;
error_log DIR/error.log;
events {}
http {
  access_log DIR/access.log;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
  server { listen unix:DIR/socket; root DIR/tree; SETTING }
}
`

// nginx serves dir/tree on a socket. It has forked when the command ends, with
// the socket open.
func nginx(t *testing.T, dir, setting string) (dial func(context.Context, string, string) (net.Conn, error)) {
	t.Helper()
	config := filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("DIR", dir, "SETTING", setting).Replace(nginxConfig)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		if out, err := exec.Command("nginx", append([]string{"-c", config, "-p", dir}, args...)...).CombinedOutput(); err != nil {
			t.Errorf("nginx: %v: %s", err, out)
		}
	}
	run()
	t.Cleanup(func() { run("-s", "stop") })
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "socket"))
	}
}

// The usual static server, as it is and with Range forbidden, serves what is
// missing; the former only that, over one connection.
func TestNginx(t *testing.T) {
	old := noise(1, fileSize)
	content := slices.Concat(old[:100_000], noise(2, 5_000), old[100_000:400_000], noise(3, 5_000), old[400_000:])
	for setting, most := range map[string]int64{"": 200_000, "max_ranges 0;": int64(len(content))} {
		dir := t.TempDir()
		j := makeJob(t, content, true, "http://nginx.example/")
		path := filepath.Join(dir, "tree", j.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		dial := nginx(t, dir, setting)
		connections := 0
		f := New(Config{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			connections++
			return dial(ctx, network, address)
		}})
		j.Local = []chunk.Source{source(old)}
		stats := mustFetch(t, f, j, content)
		f.client.CloseIdleConnections()
		if stats.Bytes > most || stats.Reused < 400_000 {
			t.Errorf("%q: %+v, want at most %d bytes", setting, stats, most)
		}
		if setting == "" && connections != 1 {
			t.Errorf("%d connections for two ranges, want 1", connections)
		}
	}
}
