package deb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"micromirror/packages/durable"
)

// Unpack makes dir hold exactly the package's files. A folder that already
// does is left as it is: its mark, dir.sha256, names the package. An unpacking
// that was broken off leaves no mark and is begun anew.
func (p Package) Unpack(ctx context.Context, dir string) error {
	mark := filepath.Clean(dir) + ".sha256"
	if b, err := os.ReadFile(mark); err == nil && strings.TrimSpace(string(b)) == p.SHA256 {
		return nil
	}
	if err := os.Remove(mark); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("unpack %s: %w", p.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("unpack %s: %w", p.Name, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("unpack %s: %w", p.Name, err)
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", p.Path, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: dpkg-deb: %w: %s", p.Name, err, strings.TrimSpace(string(out)))
	}
	return durable.WriteFile(mark, []byte(p.SHA256+"\n"), 0o644)
}
