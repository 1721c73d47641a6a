package supervise

import (
	"strings"
	"testing"
)

func TestMemoryUse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"MemTotal:         960000 kB\nMemFree:          1 kB\nMemAvailable:     860000 kB\nHugePages_Total:       0\n", "memory used 97 MiB of 937 MiB"},
		{"MemTotal: 10 kB\n", ""},
		{"MemTotal: 10 kB\nMemAvailable: 11 kB\n", ""},
		{"MemTotal: x kB\nMemAvailable: 11 kB\n", ""},
		{"", ""},
	} {
		got, err := MemoryUse(strings.NewReader(c.text))
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func FuzzMemoryUse(f *testing.F) {
	f.Add("MemTotal: 10 kB\nMemAvailable: 9 kB\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := MemoryUse(strings.NewReader(text)); err == nil && !strings.HasPrefix(s, "memory used ") {
			t.Errorf("%q", s)
		}
	})
}
