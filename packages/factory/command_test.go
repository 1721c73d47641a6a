package factory

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCancelEndsWhatWasStarted starts a program that starts another, which holds
// the output open and would go on for long.
func TestCancelEndsWhatWasStarted(t *testing.T) {
	b := &build{Options: Options{Repository: t.TempDir(), Log: io.Discard}}
	ready := filepath.Join(b.Repository, "ready")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := b.output(ctx, "sh", "-c", "sleep 600 & echo $! > ready.tmp; mv ready.tmp ready; wait")
		done <- err
	}()
	deadline := time.After(20 * time.Second)
	for {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("ended before it was told to: %v", err)
		case <-deadline:
			t.Fatal("not started")
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "sh -c") {
			t.Errorf("error = %v", err)
		}
	case <-deadline:
		t.Error("still waits for the grandchild")
	}
}

func TestLastGoFlagsCount(t *testing.T) {
	for want, env := range map[string][]string{
		"":         {"A=b", "XGOFLAGS=-a"},
		"-a":       {"GOFLAGS=-a", "A=b"},
		"-b -c=-d": {"GOFLAGS=-a", "GOFLAGS=-b -c=-d"},
	} {
		if got := goFlags(env); got != want {
			t.Errorf("%q: %q, want %q", env, got, want)
		}
	}
}
