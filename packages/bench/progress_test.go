package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProgress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bench", "progress.json")
	resume := func(settings string) *Progress[int] {
		t.Helper()
		p, err := Resume[int](file, settings)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for i, want := range [][]int{nil, {1}, {1, 2}} {
		p := resume("same")
		if d := cmp.Diff(want, p.Rows); d != "" {
			t.Errorf("rows (-want +got):\n%s", d)
		}
		if err := p.Add(i + 1); err != nil {
			t.Fatal(err)
		}
	}
	if p := resume("other"); len(p.Rows) != 0 {
		t.Errorf("with other settings %v is kept", p.Rows)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p := resume("same"); len(p.Rows) != 0 {
		t.Errorf("of a damaged file %v is kept", p.Rows)
	}
	if err := resume("same").Done(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a, err := Fingerprint(self)
	b, err2 := Fingerprint(os.DevNull)
	if err != nil || err2 != nil || a == b || len(a) != 16 {
		t.Errorf("%q, %q, %v, %v", a, b, err, err2)
	}
}
