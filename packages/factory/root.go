package factory

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/release"
	"micromirror/packages/verity"
)

// targetEnv is the environment in which programs for the node are compiled:
// linux/amd64 at the level of the oldest CPU in hardware/ (no AVX2, BMI2, FMA).
func (b *build) targetEnv() []string {
	return append(b.hostEnv(), "GOOS=linux", "GOARCH=amd64", "GOAMD64=v2", "CGO_ENABLED=0")
}

func (b *build) tags() []string {
	return append([]string{"gokrazy", "netgo", "osusergo"}, b.Tags...)
}

// makeRoot lets gok build the root file system and appends its hash tree.
func (b *build) makeRoot(ctx context.Context) error {
	c, err := readInstance(b.Repository)
	if err != nil {
		return err
	}
	etc, err := b.stageEtc()
	if err != nil {
		return err
	}
	extra := map[string]string{"/etc/micromirror": etc}
	if b.Firmware != "" {
		extra["/lib/firmware"] = b.firmwareDir()
	}
	c.extend(b.Tags, extra)
	inst := filepath.Join(b.work(), "instance")
	if err := c.write(inst, b.Repository); err != nil {
		return err
	}
	squashfs := filepath.Join(b.work(), "root.squashfs")
	// Truncating is left to us: gok overwrites a file in place.
	if err := os.RemoveAll(squashfs); err != nil {
		return err
	}
	if err := b.gok(ctx, c, "--parent_dir", b.work(), "-i", "instance", "overwrite", "--root="+squashfs); err != nil {
		return err
	}
	if b.rootVerity, err = verity.Append(squashfs); err != nil {
		return err
	}
	return os.Rename(squashfs, filepath.Join(b.Out(), release.RootFile))
}

// gok runs gokrazy's packer. Its output is shown when it fails.
func (b *build) gok(ctx context.Context, c *instance, args ...string) error {
	cmd := b.command(ctx, "go", append([]string{"tool", "gok"}, args...)...)
	// gok finds out the target from its own environment, and the go command
	// must not build gok itself for a target that differs from the host. The
	// paths go because gok writes its /gokrazy/init in a folder with a random
	// name, which would make the whole program new in every release.
	cmd.Env = slices.Concat(b.hostEnv(), c.env, []string{"GOFLAGS=" + strings.TrimSpace(goFlags(b.hostEnv())+" -buildvcs=false -trimpath")})
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gok %s: %w\n%s", strings.Join(args, " "), err, out.Bytes())
	}
	return nil
}

// goFlags is what an environment, of which the last word counts, orders of the go
// command.
func goFlags(env []string) string {
	for _, e := range slices.Backward(env) {
		if flags, ok := strings.CutPrefix(e, "GOFLAGS="); ok {
			return flags
		}
	}
	return ""
}

// stageEtc collects what the image carries as /etc/micromirror: the version, the
// manifest, the SBOM, and the hardware files that netd reads.
func (b *build) stageEtc() (string, error) {
	dir := filepath.Join(b.work(), "etc")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	hw := filepath.Join(dir, "hardware")
	if err := os.MkdirAll(hw, 0o755); err != nil {
		return "", err
	}
	models, err := filepath.Glob(filepath.Join(b.Repository, "hardware", "*.json"))
	if err != nil {
		return "", err
	}
	for _, m := range models {
		if err := copyFile(m, filepath.Join(hw, filepath.Base(m))); err != nil {
			return "", err
		}
	}
	for _, name := range []string{ManifestFile, SBOMFile} {
		if err := copyFile(filepath.Join(b.Out(), name), filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	if err := b.stageLicences(dir); err != nil {
		return "", err
	}
	return dir, writeJSON(filepath.Join(dir, "version.json"), map[string]string{"version": b.version, "built": b.built})
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
