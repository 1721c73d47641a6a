package ledger

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// clock is set by hand.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

var noon = time.Date(2026, 1, 1, 12, 30, 0, 0, time.UTC)

func TestRollingDay(t *testing.T) {
	c := &clock{noon}
	l, err := Open(filepath.Join(t.TempDir(), "x"), c.read)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after time.Duration
		add   int64
		want  int64
	}{
		{0, 5, 5}, {0, 5, 10}, {time.Hour, 7, 17}, {23 * time.Hour, 1, 18}, {24 * time.Hour, 0, 8},
		{46 * time.Hour, 2, 3}, {47 * time.Hour, 0, 2}, {500 * time.Hour, 0, 0},
		{499 * time.Hour, 4, 4}, // a clock set back a little
		{-10000 * time.Hour, 9, 9},
	} {
		c.now = noon.Add(step.after)
		if step.add > 0 {
			l.Add("debian", step.add)
		}
		if got := l.Day("debian"); got != step.want {
			t.Errorf("after %v: %d, want %d", step.after, got, step.want)
		}
	}
	if got := l.Day("other"); got != 0 {
		t.Errorf("unknown project: %d", got)
	}
}

func TestSurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger.json")
	c := &clock{noon}
	l, err := Open(file, c.read)
	if err != nil {
		t.Fatal(err)
	}
	l.Add("debian", 12)
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	c.now = noon.Add(5 * time.Hour)
	if l, err = Open(file, c.read); err != nil || l.Day("debian") != 12 {
		t.Errorf("%d bytes after a restart, %v, want 12", l.Day("debian"), err)
	}
	for _, content := range []string{"{", "[]", `{"debian":null}`, `{"debian":{"hour":-5,"bytes":[1]}}`} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		l, _ := Open(file, c.read)
		l.Add("debian", 1)
		if got := l.Day("debian"); got != 1 {
			t.Errorf("after %s: %d, want 1", content, got)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"debian":{"hour":490000,"bytes":[1,2,3]}}`), int64(490001*3600))
	f.Fuzz(func(t *testing.T, data []byte, at int64) {
		file := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := Open(file, func() time.Time { return time.Unix(at, 0) })
		if l == nil {
			t.Fatal(err)
		}
		l.Add("debian", 1)
		l.Day("debian")
	})
}
