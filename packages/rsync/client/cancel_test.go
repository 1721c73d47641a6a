package client

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// mute accepts connections, says the given text and then nothing.
func mute(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte(text))
			conns = append(conns, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	return l.Addr().String()
}

func TestTimeout(t *testing.T) {
	for _, text := range []string{"", "@RSYNCD: 31.0 md5\n", "@RSYNCD: 31.0 md5\nmotd\n"} {
		_, err := Dial(t.Context(), Config{Addr: mute(t, text), Module: "m", Timeout: 20 * time.Millisecond})
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q: %v", text, err)
		}
	}
	c, err := Dial(t.Context(), Config{Addr: mute(t, "@RSYNCD: 31.0 md5\n@RSYNCD: OK\n"), Module: "m", Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.List(t.Context(), ListOptions{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("list: %v", err)
	}
}

func TestCancel(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cfg := Config{Addr: mute(t, "@RSYNCD: 31.0 md5\n@RSYNCD: OK\n"), Module: "m"}
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if _, err := c.List(ctx, ListOptions{}); !errors.Is(err, cause) {
		t.Errorf("list: %v", err)
	}
}

func TestCancelTransfer(t *testing.T) {
	_, p := big(t, make([]byte, 4<<20))
	cfg := p.config()
	cfg.Rate = 256 << 10
	c, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.List(t.Context(), ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dst := t.TempDir()
	stage, err := os.OpenRoot(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	result, err := c.Transfer(ctx, Request{
		Files: []int{1}, Stage: stage, Dest: list.Name,
		Progress: func(p Progress) {
			if p.Bytes > 0 {
				cancel(cause)
			}
		},
	})
	if !errors.Is(err, cause) {
		t.Errorf("transfer: %v", err)
	}
	info, err := os.Stat(filepath.Join(dst, "big.iso"))
	if err != nil || info.Size() == 0 || info.Size() != result.Literal {
		t.Errorf("%d bytes came, what was kept: %v, %v", result.Literal, info, err)
	}
}
