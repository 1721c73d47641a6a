package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOnlineWhenThereIsAWay(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, server := range []string{"127.0.0.1", "127.0.0.1:8873", "[::1]:873"} {
		Online(ctx, server, slog.New(slog.DiscardHandler))
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", server, ctx.Err())
		}
	}
}

func TestOnlineEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	Online(ctx, "no-such-name.invalid", slog.New(slog.DiscardHandler))
	if ctx.Err() == nil {
		t.Error("a name that does not exist was found")
	}
}

// TestOnlineWaitsForTheKernel works in a network of its own, whose only link
// comes up later.
func TestOnlineWaitsForTheKernel(t *testing.T) {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread's network dies with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ended <- err
			return
		}
		if _, err := net.Dial("udp", "127.0.0.1:873"); err == nil {
			ended <- errors.New("there was a way before the link came up")
			return
		}
		up := exec.Command("sh", "-c", "cat; ip link set lo up")
		stdin, err := up.StdinPipe()
		if err == nil {
			err = up.Start()
		}
		if err != nil {
			ended <- err
			return
		}
		log := slog.New(slog.NewTextHandler(&onFirstLine{func() { stdin.Close() }}, &slog.HandlerOptions{Level: slog.LevelDebug}))
		ctx, cancel := context.WithTimeoutCause(context.Background(), 30*time.Second, errors.New("not told of the link"))
		defer cancel()
		Online(ctx, "127.0.0.1", log)
		up.Wait()
		ended <- context.Cause(ctx)
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// onFirstLine calls do when the first line of a log is written: by then Online has
// found no way and is going to wait.
type onFirstLine struct{ do func() }

func (o *onFirstLine) Write(p []byte) (int, error) {
	if o.do != nil {
		o.do()
		o.do = nil
	}
	return len(p), nil
}
