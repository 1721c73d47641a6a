package control

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// start serves do on a socket and returns its path.
func start(t *testing.T, do func(string) error) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), Socket)
	if err := os.WriteFile(path, []byte("left behind"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), path, os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, do) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

func TestAsk(t *testing.T) {
	var heard []string
	path := start(t, func(line string) error {
		heard = append(heard, line)
		if line == "no" {
			return errors.New("not\nnow")
		}
		return nil
	})
	if err := Ask(t.Context(), path, "debian allow-shrink"); err != nil {
		t.Error(err)
	}
	if err := Ask(t.Context(), path, "no"); err == nil || err.Error() != "not; now" {
		t.Errorf("error = %v, want the reason in one line", err)
	}
	if got := strings.Join(heard, "|"); got != "debian allow-shrink|no" {
		t.Errorf("heard %q", got)
	}
	for _, line := range []string{"two\nlines", strings.Repeat("x", maxLine)} {
		if err := Ask(t.Context(), path, line); err == nil {
			t.Errorf("%.10q was sent", line)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNobodyThere(t *testing.T) {
	if err := Ask(t.Context(), filepath.Join(t.TempDir(), Socket), "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error = %v", err)
	}
}

// One that sends a line without an end, or far too much, does not stop the next.
func TestBadPeers(t *testing.T) {
	path := start(t, func(string) error { return nil })
	for _, text := range []string{"", strings.Repeat("y", 10*maxLine)} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Log(err) // it may have been cut off already
		}
		c.Close()
	}
	if err := Ask(t.Context(), path, "good"); err != nil {
		t.Error(err)
	}
}
