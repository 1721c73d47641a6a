package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "dists/trixie-security/main"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dists/trixie-security/InRelease"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"dists/stable-security": "trixie-security", "dists/stable": "stable-security/.", "latest": "dists/stable/InRelease",
		"inner": "dists/stable/main/../InRelease", "up": "dists/../../x", "abs": "/etc", "self": "self", "a": "b", "b": "a", "gone": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, dir)
	tests := []struct {
		name, want string
		err        error
	}{
		{"dists/trixie-security/InRelease", "dists/trixie-security/InRelease", nil},
		{"dists/stable-security/InRelease", "dists/trixie-security/InRelease", nil},
		{"latest", "dists/trixie-security/InRelease", nil},
		{"inner", "dists/trixie-security/InRelease", nil},
		{"dists/stable/main", "dists/trixie-security/main", nil},
		{"up", "", errLeadsOut},
		{"abs/passwd", "", errLeadsOut},
		{"self", "", unix.ELOOP},
		{"a/b", "", unix.ELOOP},
		{"gone", "", fs.ErrNotExist},
		{"latest/below", "", unix.ENOTDIR},
		{"../x", "", fs.ErrInvalid},
		{"", "", fs.ErrInvalid},
	}
	for _, tt := range tests {
		if got, err := r.Resolve(tt.name); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Resolve(%q) = %q, %v; want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}
