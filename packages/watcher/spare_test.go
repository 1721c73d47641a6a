package watcher

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestSpare(t *testing.T) {
	file := filepath.Join(t.TempDir(), "oom_score_adj")
	if err := Spare(file); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); string(got) != spared || err != nil {
		t.Errorf("the kernel is told %q, %v, want %q", got, err, spared)
	}
	if err := Spare(filepath.Join(file, "gone")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Spare below a file: %v, want that it is none", err)
	}
}
