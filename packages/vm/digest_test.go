package vm

import (
	"strings"
	"testing"
)

func TestDigestTellsTheCourse(t *testing.T) {
	var lines []Line
	for _, text := range []string{
		"BdsDxe: loading Boot0002",
		"[    0.000000] Command line: root=x",
		"[    1.000000] pci 0000:00:1f.2: quirk",
		"[    2.000000] mm initrd: start",
		"[    3.000000] mm syncd: demo: failed",
	} {
		lines = append(lines, Line{Cycle: 2, Text: text})
	}
	got := digest(lines)
	for text, want := range map[string]bool{"BdsDxe": true, "Command line": true, "quirk": false, "initrd": true, "syncd": false} {
		if strings.Contains(got, text) != want {
			t.Errorf("digest has %q: %v, want %v\n%s", text, !want, want, got)
		}
	}
	for range maxDigest {
		lines = append(lines, lines[0])
	}
	if n := strings.Count(digest(lines), "\n"); n != maxDigest+1 {
		t.Errorf("a long digest has %d lines, want %d", n, maxDigest+1)
	}
}
