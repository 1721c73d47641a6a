package desk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCard(t *testing.T) {
	o := flagged(t)
	out := filepath.Join(t.TempDir(), "abq.html")
	o.ok("card", "abq", "--out", out, "--models", "../../hardware", "--traffic", "200 GB a day")
	page, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"abq.mirrors.example.net", "200 GB a day", "HP t620", "Smith &amp; Co"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("lacks %q", want)
		}
	}
	o.ok("card", "abq", "--out", out, "--models", filepath.Join(t.TempDir(), "none"))
}
