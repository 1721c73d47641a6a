package vt

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDouble(t *testing.T) {
	glyphs := make([]byte, 2*pitch)
	glyphs[0], glyphs[15], glyphs[16] = 0b1000_0001, 0b0101_0000, 0xff // the last is padding
	glyphs[pitch] = 1
	want := make([]byte, 4*pitch)
	copy(want, []byte{0xc0, 0x03, 0xc0, 0x03})
	copy(want[60:], []byte{0x33, 0, 0x33, 0})
	copy(want[2*pitch:], []byte{0, 3, 0, 3})
	if d := cmp.Diff(want, double(glyphs)); d != "" {
		t.Errorf("glyphs (-want +got):\n%s", d)
	}
}

// What is no terminal takes the picture all the same: the ioctls fail, and
// nothing else does.
func TestOpenWithoutScreen(t *testing.T) {
	dev := t.TempDir()
	if _, err := Open(dev, dev); err == nil {
		t.Error("opened without terminals")
	}
	if err := os.Mkdir(filepath.Join(dev, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tty1", "tty2", "kernel/sysrq"} {
		if err := os.WriteFile(filepath.Join(dev, name), []byte("438"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	term, err := Open(dev, dev)
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	if r, c := term.Size(); r != 25 || c != 80 {
		t.Errorf("size %d×%d", r, c)
	}
	if b, err := os.ReadFile(filepath.Join(dev, "kernel/sysrq")); string(b) != "0" {
		t.Errorf("sysrq %q, %v", b, err)
	}
	if _, err := term.Write([]byte("hi")); err != nil {
		t.Error(err)
	}
}
