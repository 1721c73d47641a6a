package node

import (
	"os"
	"path/filepath"
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
