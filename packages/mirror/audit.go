package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
)

// ErrAudit is wrapped by every reason not to trust a proposal.
var ErrAudit = errors.New("proposal refused")

// audit checks a proposal as that of a stranger: whoever made it may have been
// taken over by upstream. Package plan has seen to it that no path leads out;
// here it must not delete what our own records do not know as long gone, nor
// lose more by replacing directories than a list may, nor place content that has a
// further name in the stage, by which it could be changed when it is served.
func (j *Job) audit(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAudit, err)
	}
	defer f.Close()
	root, err := tree.Open(j.Tree)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAudit, err)
	}
	defer root.Close()
	staged, err := tree.Open(Staging(j.Stage))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAudit, err)
	}
	defer staged.Close()
	var replaced int64
	h, err := plan.Read(f, func(op plan.Op) error {
		switch op.Verb {
		case plan.Drop:
			return j.auditDrop(op.Path)
		case plan.Away:
			if op.IsDir() {
				n, err := countFiles(root, op.Path)
				replaced += n
				return err
			}
		case plan.File:
			return auditFile(staged, op)
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrAudit, err)
	case h.Project != j.Project.Name:
		return fmt.Errorf("%w: it is for project %q", ErrAudit, h.Project)
	}
	if replaced <= fewFiles || j.AllowShrink {
		return nil
	}
	all, err := countFiles(root, ".")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAudit, err)
	}
	if limit := all * int64(cmp.Or(j.Project.MaxDelete, project.DefaultMaxDelete)) / 100; replaced > limit {
		return fmt.Errorf("%w: %w: %d files in directories that become files", ErrAudit, ErrShrink, replaced)
	}
	return nil
}

// auditFile checks that content is a file of its own; else it is thrown away, so
// that the next run fetches it.
func auditFile(staged *tree.Root, op plan.Op) error {
	if filepath.Dir(filepath.Dir(op.Source)) != newDir {
		return fmt.Errorf("%q is not staged content", op.Source)
	}
	info, err := staged.Stat(op.Source)
	if err != nil || info.IsRegular() && info.Links == 1 {
		return nil // what is lost shows when it is placed
	}
	return errors.Join(fmt.Errorf("staged content of %q is not a file of its own", op.Path), staged.Remove(op.Source))
}

// auditDrop checks that a deletion is due.
func (j *Job) auditDrop(name string) error {
	if j.Grace == 0 {
		return nil
	}
	since, ok := j.Gone[name]
	if age := j.Now().Sub(since); !ok || age < j.Grace && age > -j.Grace {
		return fmt.Errorf("%q is not due for deletion", name)
	}
	return nil
}

// countFiles counts what is not a directory at and below name.
func countFiles(root *tree.Root, name string) (int64, error) {
	entries, err := root.List(name, nil)
	if err != nil {
		return 0, err
	}
	var n int64
	for i := range entries {
		if !entries[i].IsDir() {
			n++
			continue
		}
		below := entries[i].Name
		if name != "." {
			below = name + "/" + below
		}
		m, err := countFiles(root, below)
		if err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}
