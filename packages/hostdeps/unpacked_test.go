package hostdeps

import (
	"strings"
	"testing"
)

func TestCodename(t *testing.T) {
	for text, want := range map[string]string{
		"NAME=x\nVERSION_CODENAME=trixie\n": "trixie",
		"VERSION_CODENAME=\"bookworm\"":     "bookworm",
		"VERSION_CODENAME=\nID=debian\n":    "",
		"":                                  "",
	} {
		if got, err := readCodename(strings.NewReader(text)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzCodename(f *testing.F) {
	f.Add("VERSION_CODENAME=x")
	f.Fuzz(func(t *testing.T, text string) {
		if name, err := readCodename(strings.NewReader(text)); err == nil && (name == "" || !strings.Contains(text, name)) {
			t.Errorf("%q: %q", text, name)
		}
	})
}
