package http

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"micromirror/packages/bench"
	"micromirror/packages/certificate"
)

// server is a running file server.
type server struct {
	url string
	cmd *exec.Cmd
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop ends the server and waits for it. How it ends does not matter any more.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

// freePort finds a port on loopback that nobody uses.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start runs a server and waits until it takes connections.
func start(ctx context.Context, url, logFile string, args ...string) (*server, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	defer out.Close()
	s := &server{url: url, cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.DialTimeout("tcp", s.addr(), time.Second)
		if err == nil {
			conn.Close()
			return s, nil
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("start %s, see %s: %w", args[0], logFile, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *Config) startOurs(ctx context.Context, tree string) (*server, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Scratch, "ours")
	flags, err := bench.Ours(dir)
	if err != nil {
		return nil, err
	}
	plain, secure, url := addr, "", "http://"+addr
	if c.Secure {
		plain, secure, url = "127.0.0.1:0", addr, "https://"+addr
	}
	flags = append([]string{c.Server, "-listen", plain, "-https", secure, "-acme", filepath.Join(c.Scratch, "acme"), "-root", tree}, flags...)
	return start(ctx, url, filepath.Join(dir, "output"), flags...)
}

// nginxConfig is nginx tuned for this work. DIR, ADDR and TREE are filled in.
const nginxConfig = `daemon off;
user root;
worker_processes 2;
worker_rlimit_nofile 20000;
pid DIR/pid;
error_log DIR/error.log error;
events { worker_connections 16384; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 65;
  open_file_cache max=200000 inactive=60s;
  open_file_cache_valid 30s;
  open_file_cache_errors on;
  log_format full '$remote_addr - - [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time';
  access_log DIR/access.log full buffer=64k flush=1s;
  client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
  server { listen ADDRSSL backlog=4096; EXTRA root TREE; autoindex on; server_tokens off; }
}
`

func (c *Config) startNginx(ctx context.Context, tree string) (*server, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Scratch, "nginx")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	ssl, extra, url := "", "", "http://"+addr
	if c.Secure {
		ssl, url = " ssl", "https://"+addr
		extra = strings.ReplaceAll(nginxTLS, "ACME", filepath.Join(c.Scratch, "acme", certificate.File))
	}
	config := strings.NewReplacer("DIR", dir, "ADDRSSL", addr+ssl, "EXTRA", extra, "TREE", tree).Replace(nginxConfig)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("start nginx: %w", err)
	}
	return start(ctx, url, filepath.Join(dir, "output"), "nginx", "-c", file, "-p", dir)
}
