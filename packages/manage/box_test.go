package manage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"micromirror/packages/control"
	"micromirror/packages/layout"
)

// machine is a box in a folder, with the files given and daemons that answer.
func machine(t *testing.T, files map[string]string, heard func(line string) error) Box {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		write(t, root+name, text)
	}
	write(t, root+layout.ManageDir+"/.keep", "")
	socket := filepath.Join(root, control.Socket)
	l, err := control.Listen(t.Context(), socket, control.KeepGroup)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, heard)
	return Box{Root: root, Trigger: socket, Updater: socket, Now: func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }}
}

func serve(t *testing.T, l net.Listener, heard func(line string) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- control.Serve(ctx, l, heard) }()
	t.Cleanup(func() { cancel(); <-done })
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (b Box) do(t *testing.T, line string) (string, error) {
	t.Helper()
	words := strings.Fields(line)
	var out bytes.Buffer
	err := b.Commands()[words[0]](t.Context(), words[1:], &out)
	return out.String(), err
}

func TestWorkIsPassedOn(t *testing.T) {
	var heard []string
	b := machine(t, nil, func(line string) error {
		heard = append(heard, line)
		if strings.HasPrefix(line, "slackware") {
			return errors.New("no such project")
		}
		return nil
	})
	for line, want := range map[string]string{
		"sync debian": "", "sync debian allow-shrink": "", "reboot": "", "sync": "PROJECT", "sync a b": "PROJECT",
		"sync slackware": "no such project", "reboot now": "no words", "status now": "no words", "diag x": "no words", "undrain x": "no words",
	} {
		out, err := b.do(t, line)
		if want == "" && (err != nil || out != "ok\n") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %q, %v; want error %q", line, out, err, want)
		}
	}
	if len(heard) != 4 {
		t.Errorf("the daemons heard %q", heard)
	}
}

func TestStatusAndDrain(t *testing.T) {
	b := machine(t, map[string]string{
		layout.HealthFile: `{"healthy": true}`, layout.RunDir + "/netd/state.json": `{"torn":`, "/proc/uptime": "12345.67 1.0\n",
	}, nil)
	status := func() (s Status) {
		t.Helper()
		out, err := b.do(t, "status")
		if err == nil {
			err = json.Unmarshal([]byte(out), &s)
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); string(s.Health) != `{"healthy":true}` || s.Network != nil || s.UptimeSeconds != 12345 || s.Drained != "" {
		t.Errorf("status = %+v", s)
	}
	if _, err := b.do(t, "drain moves to another rack"); err != nil || status().Drained != "moves to another rack" {
		t.Errorf("drain: %v, %q", err, status().Drained)
	}
	for range 2 { // undrain of what is not drained is no error
		if _, err := b.do(t, "undrain"); err != nil || status().Drained != "" {
			t.Errorf("undrain: %v, %q", err, status().Drained)
		}
	}
}

func TestLogs(t *testing.T) {
	ring := layout.StateDir + "/logd/node.log"
	b := machine(t, map[string]string{ring + ".2": "one\n", ring + ".1": "two\nthree\n", ring: "four\n" + strings.Repeat("x", 10000) + "\nfive\n"}, nil)
	for line, want := range map[string]string{"logs 1": "five\n", "logs": "one\ntwo\nthree\nfour\n" + strings.Repeat("x", 10000) + "\nfive\n"} {
		if out, err := b.do(t, line); err != nil || out != want {
			t.Errorf("%s: %v\n%.200q", line, err, out)
		}
	}
	for _, line := range []string{"logs 0", "logs -1", "logs all", "logs 1 2"} {
		if _, err := b.do(t, line); err == nil {
			t.Errorf("%s: no error", line)
		}
	}
	if _, err := machine(t, nil, nil).do(t, "logs"); err == nil {
		t.Error("no log is no error")
	}
}

func TestDiag(t *testing.T) {
	b := machine(t, map[string]string{
		layout.StateDir + "/logd/node.log": "a line\n", "/proc/meminfo": "", layout.NodeDir + "/node.json": "{}",
		layout.NodeDir + "/age.key": "secret", layout.NodeDir + "/secret.json": "secret",
	}, nil)
	out, err := b.do(t, "diag")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(data)
	}
	if files["diag/perm/state/logd/node.log"] != "a line\n" || files["diag/perm/node/node.json"] != "{}" || !strings.Contains(files["diag/missing.txt"], "/run/health.json") {
		t.Errorf("files = %q", files)
	}
	for name, text := range files {
		if strings.Contains(text, "secret") {
			t.Errorf("%s has a secret", name)
		}
	}
}

func TestHostKey(t *testing.T) {
	const key = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ"
	a, err := HostKey(key + "\n")
	if err != nil {
		t.Fatal(err)
	}
	// Desks have this pinned: it must never change.
	const want = "SHA256:DGmyH1ClIZCwD5iAbtQ5R4cP6VRMa5rAHHo5O8cIe0s"
	if got := ssh.FingerprintSHA256(a.PublicKey()); got != want {
		t.Errorf("host key = %s, want %s", got, want)
	}
	for _, bad := range []string{"", "secret", key + "\n" + key} {
		if _, err := HostKey(bad); err == nil {
			t.Errorf("%.20q was taken", bad)
		}
	}
}

func TestPublicKeys(t *testing.T) {
	line := string(ssh.MarshalAuthorizedKey(signer(t, 2).PublicKey()))
	keys, err := PublicKeys([]string{strings.TrimSpace(line) + " desk"})
	if err != nil || len(keys) != 1 || string(keys[0].Marshal()) != string(signer(t, 2).PublicKey().Marshal()) {
		t.Errorf("keys = %v, %v", keys, err)
	}
	for _, bad := range []string{"", "no-pty " + line, line + line, "ssh-ed25519 AAAA"} {
		if _, err := PublicKeys([]string{bad}); err == nil || !strings.Contains(err.Error(), "manage.keys[0]") {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
}
