package node

import (
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitReturnsWhenTheFileAppears(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		go func() {
			time.Sleep(3 * time.Second) // of the bubble's own clock
			if err := os.WriteFile(filepath.Join(dir, NodeFile), []byte("{}"), 0o644); err != nil {
				t.Error(err)
			}
		}()
		Await(t.Context(), dir, time.Minute)
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("returned after %v, want when the file appeared after 3 s", took)
		}
	})
}

func TestAwaitGivesUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		Await(t.Context(), dir, time.Minute)
		if took := time.Since(start); took != time.Minute {
			t.Errorf("gave up after %v, want the limit of one minute", took)
		}
	})
}

func TestLoadWithoutFilesStillRuns(t *testing.T) {
	dir := t.TempDir()
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	defer signal.Stop(told)
	synctest.Test(t, func(t *testing.T) {
		c := Load(t.Context(), dir, slog.New(slog.DiscardHandler))
		if !c.Node.DHCP || len(c.Projects()) != 0 {
			t.Errorf("DHCP = %v, %d projects; want DHCP and none", c.Node.DHCP, len(c.Projects()))
		}
		for _, name := range []string{FleetFile, NodeFile} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // of the bubble's own clock
	})
	<-told // the daemon ends, to be started again with its configuration
}
