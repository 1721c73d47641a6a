package clock

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"micromirror/packages/hostdeps"
)

// chrony starts a real NTP server on a free port of the loopback; it serves
// this machine's time and leaves the clock alone.
func chrony(t *testing.T) (address string) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.UDPAddr).Port
	c.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "chrony.conf")
	text := fmt.Sprintf("port %d\nbindaddress 127.0.0.1\ncmdport 0\nbindcmdaddress /\nlocal stratum 3\nallow 127.0.0.1\npidfile %s/pid\n", port, dir)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	repository := filepath.Join("..", "..")
	root, err := hostdeps.Unpacked(t.Context(), filepath.Join(repository, hostdeps.UnpackedDir), "chrony")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, "usr/sbin/chronyd"), "-d", "-x", "-u", "root", "-f", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func TestRealServer(t *testing.T) {
	server := chrony(t)
	const behind = time.Hour
	source := NTP{Now: func() time.Time { return time.Now().Add(-behind) }}
	var s Sample
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if s, err = source.Query(t.Context(), server); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if d := (s.Offset - behind).Abs(); d > s.Error {
		t.Errorf("offset = %v, want %v within %v", s.Offset, behind, s.Error)
	}
}
