package earlyboot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPoster(t *testing.T) {
	for _, words := range []string{saidDone, "FAILED: " + strings.Repeat("x", 100) + "; " + saidBegun, "", saidNothing} {
		got, ok := strings.CutPrefix(poster(words), posterClear)
		if strings.Join(strings.Fields(got), " ") != words || !ok {
			t.Errorf("%q shows %q", words, got)
		}
		for _, line := range strings.Split(got, "\r\n") {
			if len(strings.Fields(line)) > 1 && len(line) > 79 {
				t.Errorf("%q is too long for a screen", line)
			}
		}
	}
}

func TestPost(t *testing.T) {
	screen := filepath.Join(t.TempDir(), "tty0")
	if err := os.WriteFile(screen, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, b := range []boot{{}, {screen: screen + "1"}, {screen: screen}} {
		b.post(saidDone)
	}
	if got, err := os.ReadFile(screen); err != nil || string(got) != poster(saidDone) {
		t.Errorf("the screen has %q, %v", got, err)
	}
}
