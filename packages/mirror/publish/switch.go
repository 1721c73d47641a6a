package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/plan"
)

// bringOut lays the index files of the plan out as an edition and brings it out.
// After an interruption it may be out already; then some of its files are in the
// tree, and it must stay as it is until all are.
func (a *applier) bringOut() error {
	if a.Press == nil || a.Press.Out() {
		return nil
	}
	d, err := a.Press.Draft()
	if err != nil {
		return err
	}
	defer d.Close()
	inside, laid := false, 0
	_, err = read(filepath.Join(a.Stage, PlanFile), func(op plan.Op) error {
		switch op.Verb {
		case plan.Switch, plan.Settle:
			inside = op.Verb == plan.Switch
			return nil
		}
		if !inside || a.placed(op) {
			return nil
		}
		laid++
		return a.layOut(d, op)
	})
	if err != nil {
		return fmt.Errorf("lay out edition: %w", err)
	}
	if laid == 0 {
		return a.Press.Abandon()
	}
	if err := a.fault("bring out"); err != nil {
		return err
	}
	return a.Press.BringOut()
}

// placed reports whether there is nothing left to do of an operation, or nothing
// that an edition could show.
func (a *applier) placed(op plan.Op) bool {
	switch op.Verb {
	case plan.File:
		_, err := a.fetched.Stat(op.Source)
		return errors.Is(err, fs.ErrNotExist)
	case plan.Hard:
		have, err := a.tree.Stat(op.Path)
		source, serr := a.tree.Stat(op.Source)
		return err == nil && serr == nil && have.Inode == source.Inode
	case plan.Link:
		target, err := a.tree.Readlink(op.Path)
		return err == nil && target == op.Source
	}
	return true
}

// layOut adds what one operation will put in the tree.
func (a *applier) layOut(d *edition.Draft, op plan.Op) error {
	if err := d.New.MkdirAll(path.Dir(op.Path), 0o755); err != nil {
		return err
	}
	if err := a.retain(d, op.Path); err != nil {
		return err
	}
	switch op.Verb {
	case plan.File:
		if err := a.ready(op); err != nil {
			return err
		}
		return a.fetched.LinkIn(op.Source, d.New, op.Path)
	case plan.Hard:
		err := d.New.LinkIn(op.Source, d.New, op.Path)
		if errors.Is(err, fs.ErrNotExist) { // the other name stays as it is
			err = a.tree.LinkIn(op.Source, d.New, op.Path)
		}
		return err
	default:
		return d.New.Symlink(op.Source, op.Path, op.Sec, op.Nsec)
	}
}

// retain keeps the file that is to be replaced.
func (a *applier) retain(d *edition.Draft, name string) error {
	have, err := a.tree.Stat(name)
	if err != nil || !have.IsRegular() {
		return ignoreMissing(err)
	}
	if err := d.Old.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return a.tree.LinkIn(name, d.Old, name)
}

// withdraw ends the edition: the tree holds all of it.
func (a *applier) withdraw() error {
	if a.Press == nil {
		return nil
	}
	return a.Press.Withdraw()
}
