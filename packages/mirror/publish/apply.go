package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/tree"
)

// applier is one Apply.
type applier struct {
	*Publisher
	ctx         context.Context
	tree, stage *tree.Root // stage is the project's folder
	fetched     *tree.Root // the content in it
	done, total int
	result      Result
}

func (a *applier) open() (err error) {
	for _, dir := range []string{trash, FetchDir} {
		if err := os.MkdirAll(filepath.Join(a.Stage, dir), 0o700); err != nil {
			return err
		}
	}
	for name, root := range map[string]**tree.Root{a.Tree: &a.tree, a.Stage: &a.stage, filepath.Join(a.Stage, FetchDir): &a.fetched} {
		if *root, err = tree.Open(name); err != nil {
			a.close()
			return err
		}
	}
	return nil
}

func (a *applier) close() {
	for _, root := range []*tree.Root{a.tree, a.stage, a.fetched} {
		if root != nil {
			root.Close()
		}
	}
}

// do carries out one operation.
func (a *applier) do(op plan.Op) error {
	if err := a.ctx.Err(); err != nil {
		return context.Cause(a.ctx)
	}
	if err := a.fault(string(op.Verb) + " " + op.Path); err != nil {
		return err
	}
	a.done++
	if a.Progress != nil {
		a.Progress(a.done, a.total)
	}
	switch op.Verb {
	case plan.Dir:
		return a.tree.Mkdir(op.Path, op.Mode)
	case plan.Away:
		return a.away(op)
	case plan.File:
		return a.file(op)
	case plan.Hard:
		return a.hard(op)
	case plan.Link:
		return a.link(op)
	case plan.Mode:
		return ignoreMissing(a.tree.SetMode(op.Path, op.Mode))
	case plan.Time:
		return a.time(op)
	case plan.Drop:
		return a.drop(op)
	case plan.Switch:
		return a.bringOut()
	case plan.Settle:
		return a.withdraw()
	default: // plan.Gone; Read lets no other pass
		a.result.Gone[op.Path] = time.Unix(op.Sec, 0)
		return nil
	}
}

// away moves what is in the way. After an interruption the new entry may be
// there already; the type tells the two apart.
func (a *applier) away(op plan.Op) error {
	have, err := a.tree.Stat(op.Path)
	if err != nil || have.IsDir() != op.IsDir() {
		return ignoreMissing(err)
	}
	return a.toTrash(op.Path)
}

// toTrash moves an entry under a number that is free.
func (a *applier) toTrash(name string) error {
	for n := a.done; ; n++ {
		target := trash + "/" + strconv.Itoa(n)
		if _, err := a.stage.Stat(target); errors.Is(err, fs.ErrNotExist) {
			return a.tree.MoveOut(name, a.stage, target)
		} else if err != nil {
			return err
		}
	}
}

func (a *applier) file(op plan.Op) error {
	err := a.ready(op)
	if errors.Is(err, fs.ErrNotExist) {
		have, err := a.tree.Stat(op.Path)
		if err != nil || !have.IsRegular() || have.Size != op.Size || have.Sec != op.Sec {
			return fmt.Errorf("%w: %q", ErrLost, op.Path)
		}
		return nil // placed before the interruption
	}
	if err != nil {
		return err
	}
	a.result.Files++
	return a.tree.MoveIn(a.fetched, op.Source, op.Path)
}

// ready gives staged content the mode and time that it is published with.
func (a *applier) ready(op plan.Op) error {
	staged, err := a.fetched.Stat(op.Source)
	if err != nil {
		return err
	}
	if !staged.IsRegular() || staged.Size != op.Size {
		return fmt.Errorf("%w: %q: staged with %d bytes instead of %d", ErrLost, op.Path, staged.Size, op.Size)
	}
	if staged.Mode&0o7777 != op.Mode {
		if err := a.fetched.SetMode(op.Source, op.Mode); err != nil {
			return err
		}
	}
	if staged.Sec == op.Sec && staged.Nsec == op.Nsec {
		return nil
	}
	return a.fetched.SetTimes(op.Source, op.Sec, op.Nsec)
}

func (a *applier) hard(op plan.Op) error {
	source, err := a.tree.Stat(op.Source)
	if err != nil {
		return err
	}
	if !source.IsRegular() {
		return fmt.Errorf("%w: hard link to %q, which is not a file", ErrObstructed, op.Source)
	}
	// Mostly the name is new. Only one that is taken, and a directory that its owner
	// cannot write, take the long way.
	if err := a.tree.LinkIn(op.Source, a.tree, op.Path); !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
		a.result.Files++
		return err
	}
	if have, err := a.tree.Stat(op.Path); err == nil && have.Inode == source.Inode {
		return nil // a rename onto itself would do nothing and leave the link behind
	}
	if err := a.stage.Remove(tempLink); err != nil {
		return err
	}
	if err := a.tree.LinkIn(op.Source, a.stage, tempLink); err != nil {
		return err
	}
	a.result.Files++
	return a.tree.MoveIn(a.stage, tempLink, op.Path)
}

func (a *applier) link(op plan.Op) error {
	if err := a.stage.Remove(tempLink); err != nil {
		return err
	}
	if err := a.stage.Symlink(op.Source, tempLink, op.Sec, op.Nsec); err != nil {
		return err
	}
	a.result.Files++
	return a.tree.MoveIn(a.stage, tempLink, op.Path)
}

func (a *applier) time(op plan.Op) error {
	if op.IsDir() {
		if err := ignoreMissing(a.tree.SetMode(op.Path, op.Mode&0o7777)); err != nil {
			return err
		}
	}
	return ignoreMissing(a.tree.SetTimes(op.Path, op.Sec, op.Nsec))
}

func (a *applier) drop(op plan.Op) error {
	have, err := a.tree.Stat(op.Path)
	if err != nil {
		return ignoreMissing(err)
	}
	a.result.Dropped++
	if have.IsDir() {
		return a.toTrash(op.Path)
	}
	return a.tree.Remove(op.Path)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
