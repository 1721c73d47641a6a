package httpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/authority"
	"micromirror/packages/bench"
	"micromirror/packages/httpd/limit"
)

// crowd is how many connections stall, a quarter of them in each of four places.
const crowd = 10_000

// crowdMemory bounds what the process may hold then, in bytes: what its Go part is
// told to stay below, and the program itself.
const crowdMemory = (128 + 32) << 20

// program is the real file server as a process of its own, with the fixture's tree
// and certificate.
type program struct {
	*fixture
	plain string
	ca    *authority.Authority
	pid   int
}

// startProgram builds and starts the file server.
func startProgram(t *testing.T) *program {
	t.Helper()
	f, ca := newSecure(t)
	file := filepath.Join(f.dir, "httpd")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "micromirror/cmd/httpd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := &program{fixture: f, plain: freeAddr(t), ca: ca}
	f.https = freeAddr(t)
	for name, content := range map[string]string{
		"fleet.json": `{"domain":"mirror.example","contact":"noc@mirror.example","upstream":"upstream.example","ntp":[]}`,
		"node.json":  `{"name":"crowded","hardware":"qemu","addresses":["dhcp"],"projects":["debian"]}`,
	} {
		f.must(os.MkdirAll(filepath.Join(f.dir, "node"), 0o755))
		f.must(os.WriteFile(filepath.Join(f.dir, "node", name), []byte(content), 0o644))
	}
	cmd := exec.CommandContext(t.Context(), file, "-listen", p.plain, "-https", f.https, "-acme", f.dir+"/acme", "-root", f.dir+"/mirror",
		"-node", f.dir+"/node", "-state", f.dir+"/state", "-run", f.dir+"/run", "-logs", f.dir+"/logs2", "-sandbox=false")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	f.must(cmd.Start())
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // how it ends does not matter any more
	})
	for end := time.Now().Add(20 * time.Second); ; {
		err := p.outsider()
		if err == nil {
			return p
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// outsider is somebody from another network who asks for a file, by TLS and
// without.
func (p *program) outsider() error {
	dialer := &net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, 1)}}
	secured, err := tls.DialWithDialer(dialer, "tcp", p.https, session(p.ca, tls.VersionTLS13))
	if err != nil {
		return err
	}
	plain, err := dialer.Dial("tcp", p.plain)
	if err != nil {
		return errors.Join(err, secured.Close())
	}
	for _, conn := range []net.Conn{secured, plain} {
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, request("GET", "/debian/dists/stable/InRelease")); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
	}
	return nil
}

// mayOpen is how many files this process may have open, which is made as many as
// can be.
func mayOpen(t *testing.T) int {
	t.Helper()
	if err := raiseDescriptors(); err != nil {
		t.Log(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return int(limit.Cur)
}

// Ten thousand clients stall in reading, in the request, in shutdown and in the
// handshake. The process stays small, and others are served throughout.
func TestTenThousandStalledOverTLS(t *testing.T) {
	const others = 500
	n := min(crowd, mayOpen(t)-others)
	p := startProgram(t)
	config := session(p.ca, tls.VersionTLS13) // resumed: the crowd is on this computer, too
	established := func(text string) func(net.Conn) error {
		return func(c net.Conn) error {
			conn := tls.Client(c, config)
			_, err := io.WriteString(conn, text)
			return err
		}
	}
	large, farewell := request("GET", "/debian/pool/large.iso"), request("GET", "/debian/pool/large.iso", "Connection: close")
	for _, stall := range []struct {
		where string
		do    func(net.Conn) error
	}{
		{"reading", established(strings.Repeat(large, 4))},
		{"the request", established("GET /debian/pool/la")},
		{"shutdown", func(c net.Conn) error { return errors.Join(established(farewell)(c), c.(*net.TCPConn).CloseWrite()) }},
		{"the handshake", func(c net.Conn) error {
			_, err := io.WriteString(c, "\x16\x03\x01\xff\xff"+strings.Repeat("\x01", 4000))
			return err
		}},
	} {
		for _, conn := range p.gather(t, n/4, stall.do) {
			defer conn.Close()
		}
		for range 5 {
			if err := p.outsider(); err != nil {
				t.Errorf("with %d clients that stall in %s: %v", n/4, stall.where, err)
			}
		}
		held, err := bench.RSS(p.pid)
		t.Logf("clients that stall in %s, %d more: %d MiB", stall.where, n/4, held>>20)
		if err != nil || held > crowdMemory {
			t.Errorf("with clients that stall in %s the server holds %d MiB, %v", stall.where, held>>20, err)
		}
	}
}

// gather makes connections with small buffers, which stay open.
func (p *program) gather(t *testing.T, n int, stall func(net.Conn) error) []net.Conn {
	t.Helper()
	dialer := net.Dialer{Timeout: 20 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10) })
		return errors.Join(err, failed)
	}}
	const side = 8
	conns, errs := make([]net.Conn, n), make([]error, side)
	var wg sync.WaitGroup
	for i := range side {
		wg.Go(func() {
			for j := i; j < n && errs[i] == nil; j += side {
				if conns[j], errs[i] = dialer.Dial("tcp", p.https); errs[i] == nil {
					errs[i] = stall(conns[j])
				}
			}
		})
	}
	wg.Wait()
	p.must(errors.Join(errs...))
	return conns
}

// A flood of handshakes uses its network's account up and nobody else's.
func TestHandshakeFloodIsStoppedByNetwork(t *testing.T) {
	f, ca := newSecure(t)
	const handshakes, cost = 5, 20
	rules := limit.Default()
	rules.Exempt, rules.Burst, rules.RequestsPerSecond = []netip.Prefix{}, handshakes*cost, 0.001
	f.limits.SetRules(rules)
	from := func(network byte) error {
		dialer := &net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, network, 1)}}
		conn, err := tls.DialWithDialer(dialer, "tcp", f.https, session(ca, tls.VersionTLS13))
		if err == nil {
			conn.Close()
		}
		return err
	}
	for i := range 2 * handshakes {
		if err := from(7); (err == nil) != (i < handshakes) {
			t.Errorf("handshake %d of a flood: %v", i, err)
		}
		if i < handshakes {
			continue
		}
		if err := from(byte(20 + i)); err != nil {
			t.Errorf("another network: %v", err)
		}
	}
}
