package httpd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHealthFile(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	const good = `{"healthy": true, "time": "2026-11-22T11:59:00Z"}`
	for name, test := range map[string]struct {
		report, drained string
		healthy         bool
		says            string
	}{
		"none":    {"", "", false, "no health report yet"},
		"good":    {good, "", true, good},
		"ill":     {strings.Replace(good, "true", "false", 1), "", false, `"healthy": false`},
		"torn":    {"{", "", false, "unreadable"},
		"old":     {strings.Replace(good, "11:59", "11:54", 1), "", false, "old"},
		"drained": {good, "new rack\n", false, "drained"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{"health.json": test.report, "drained": test.drained} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			healthy, report := HealthFile(filepath.Join(dir, "health.json"), filepath.Join(dir, "drained"), func() time.Time { return now })()
			if healthy != test.healthy || !strings.Contains(string(report), test.says) {
				t.Errorf("%v, %s; want %v, %q", healthy, report, test.healthy, test.says)
			}
		})
	}
}
