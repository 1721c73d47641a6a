package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"micromirror/packages/identity"
	"micromirror/packages/layout"
	"micromirror/packages/perm"
)

const e2fsck = "/usr/sbin/e2fsck"

// examinePerm repairs a copy of /perm the way a node does when it starts, checks
// that nothing is left to repair, and reads the files that the daemons keep: each
// JSON file is whole, and the node's own are those of one of the sets.
func examinePerm(ctx context.Context, m *image, where extent, work string, sets []identity.Set) error {
	dir, err := os.MkdirTemp(work, "perm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	copied := filepath.Join(dir, "perm.img")
	if err := m.extract(copied, where); err != nil {
		return err
	}
	if _, err := perm.Check(ctx, copied, e2fsck, func() {}); err != nil {
		return fmt.Errorf("/perm cannot be repaired: %w", err)
	}
	if out, err := exec.CommandContext(ctx, e2fsck, "-fn", copied).CombinedOutput(); err != nil {
		return fmt.Errorf("/perm after its repair: %w: %s", err, out)
	}
	for part, sets := range map[string][]identity.Set{layout.NodeDir: sets, layout.StateDir: nil} {
		name, err := filepath.Rel(layout.Perm, part)
		if err != nil {
			return err
		}
		// What is not there yet is no error of debugfs, nor of ours.
		cmd := exec.CommandContext(ctx, "/usr/sbin/debugfs", "-R", fmt.Sprintf("rdump /%s %s", name, dir), copied)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("read %s: %w: %s", part, err, out)
		}
		if err := examineFiles(filepath.Join(dir, name), sets); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// examineFiles looks at every JSON file below dir. Without sets any content is
// right that is whole.
func examineFiles(dir string, sets []identity.Set) error {
	var problems []error
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !json.Valid(b) {
			problems = append(problems, fmt.Errorf("%s holds %d bytes that are no JSON", d.Name(), len(b)))
		}
		same := func(s identity.Set) bool { return s[d.Name()] == nil || string(s[d.Name()]) == string(b) }
		if len(sets) > 0 && !slices.ContainsFunc(sets, same) {
			problems = append(problems, fmt.Errorf("%s is neither old nor new", d.Name()))
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(append(problems, err)...)
}
