package factory

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"micromirror/packages/earlyboot"
	"micromirror/packages/hardware"
	"micromirror/packages/initramfs"
	"micromirror/packages/release"
)

// makeInitrd compiles /init and packs it with the modules it needs.
func (b *build) makeInitrd(ctx context.Context) error {
	init := filepath.Join(b.work(), "init")
	cmd := b.command(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-tags", strings.Join(b.tags(), ","), "-o", init, "./cmd/initrd")
	cmd.Env = b.targetEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/initrd: %w\n%s", err, bytes.TrimSpace(out))
	}
	_, err := initramfs.Build(ctx, initramfs.Spec{
		Out:       filepath.Join(b.Out(), release.InitrdFile),
		Init:      init,
		ModuleDir: b.kernel.ModuleDir(),
		Modules:   hardware.Modules(hardware.Needs(b.models), true),
		Files: map[string]string{
			earlyboot.E2fsck:   filepath.Join(b.unpacked(e2fsckDeb), "usr/sbin/e2fsck.static"),
			earlyboot.Template: filepath.Join(b.Out(), release.PermFile),
		},
		Early: b.microcode,
	})
	return err
}
