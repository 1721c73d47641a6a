package clock

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestBuilt(t *testing.T) {
	when := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for content, want := range map[string]time.Time{
		`{"version": "x", "built": "2026-11-21T12:00:00Z"}`: when,
		`{"version": "x"}`:       {},
		`{"built": "yesterday"}`: {},
		`not JSON`:               {},
	} {
		file := filepath.Join(t.TempDir(), "version.json")
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := Built(file); !got.Equal(want) {
			t.Errorf("Built of %s = %v, want %v", content, got, want)
		}
	}
	if got := Built(filepath.Join(t.TempDir(), "none")); !got.IsZero() {
		t.Errorf("Built without a file = %v, want the zero time", got)
	}
}
