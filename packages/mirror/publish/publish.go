// Package publish carries out a plan file on a served tree.
//
// Promise: the plan file is the journal. It is whole and durable, and the staged
// content with it, before the first change (Commit); every operation can be
// repeated (Apply), so that after a crash or power cut at any point Apply does
// the rest; the file is removed (durably, after a sync of the file system) only
// when all is done. At every instant the tree is what a prefix of the plan makes
// of it, also on the disk: the file system's own journal keeps the order of
// renames.
//
// A plan that is given up (Discard) leaves the tree torn. That is durable too,
// in the same step, until a plan for the whole tree is done (or Mended).
//
// Files owned: in the stage folder of the project the plan file, the torn one,
// trash and the temporary link. Failure: an operation that fails ends Apply with the journal in
// place. ErrLost, ErrObstructed and plan.ErrFormat mean that trying again cannot help.
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

	"micromirror/packages/durable"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/tree"
)

// Names in a project's stage folder.
const (
	PlanFile = "plan"
	tornFile = "torn" // the plan that was given up
	trash    = "trash"
	tempLink = "link"
)

// ErrLost is returned when staged content that a plan places is neither in the
// stage nor in the tree.
var ErrLost = errors.New("staged content is lost")

// Publisher applies plans to one tree.
type Publisher struct {
	// Tree and Stage are folders of the same file system.
	Tree, Stage string
	// Progress is told about every operation done; it may be nil.
	Progress func(done, total int)
	// Fault is called before each step of a publish and may return an error to
	// break it off there; tests inject it. It may be nil.
	Fault func(step string) error
}

// Result is what a publish did.
type Result struct {
	plan.Header
	Files, Dropped int
	// Gone are the plan's tombstones; only meaningful when Complete.
	Gone map[string]time.Time
}

// ErrObstructed is returned when something in the tree is not as a plan needs it.
var ErrObstructed = errors.New("tree is not as planned")

// Pending reports whether a plan waits in the stage.
func (p *Publisher) Pending() bool { return p.has(PlanFile) }

// Torn reports whether a plan was given up and none has made the tree whole yet.
func (p *Publisher) Torn() bool { return p.has(tornFile) }

// has takes a file that it cannot ask for as there: that is the safe side.
func (p *Publisher) has(name string) bool {
	_, err := os.Lstat(filepath.Join(p.Stage, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// Commit makes the staged files and the plan in proposal durable, and the
// proposal the journal.
func (p *Publisher) Commit(proposal string) error {
	if err := p.fault("sync"); err != nil {
		return err
	}
	if err := durable.SyncFS(p.Stage); err != nil {
		return fmt.Errorf("commit plan: %w", err)
	}
	if err := p.fault("journal"); err != nil {
		return err
	}
	if err := durable.Rename(proposal, filepath.Join(p.Stage, PlanFile)); err != nil {
		return fmt.Errorf("commit plan: %w", err)
	}
	return nil
}

// Discard gives the plan up.
func (p *Publisher) Discard() error {
	return durable.Rename(filepath.Join(p.Stage, PlanFile), filepath.Join(p.Stage, tornFile))
}

// Mended notes that the tree is whole.
func (p *Publisher) Mended() error {
	if !p.Torn() {
		return nil
	}
	return durable.Remove(filepath.Join(p.Stage, tornFile))
}

// Apply carries out the committed plan and removes it.
func (p *Publisher) Apply(ctx context.Context) (Result, error) {
	name := filepath.Join(p.Stage, PlanFile)
	total := 0
	header, err := read(name, func(plan.Op) error { total++; return nil })
	if err != nil {
		return Result{}, fmt.Errorf("publish: %w", err)
	}
	a := &applier{Publisher: p, ctx: ctx, total: total, result: Result{Header: header, Gone: map[string]time.Time{}}}
	if err := a.open(); err != nil {
		return Result{}, fmt.Errorf("publish: %w", err)
	}
	defer a.close()
	if _, err := read(name, a.do); err != nil {
		return a.result, fmt.Errorf("publish: %w", err)
	}
	if err := p.fault("finish"); err != nil {
		return a.result, err
	}
	if err := durable.SyncFS(p.Tree); err != nil {
		return a.result, fmt.Errorf("publish: %w", err)
	}
	if header.Complete {
		if err := p.Mended(); err != nil {
			return a.result, fmt.Errorf("publish: %w", err)
		}
	}
	if err := durable.Remove(name); err != nil {
		return a.result, fmt.Errorf("publish: %w", err)
	}
	return a.result, tree.Discard(filepath.Join(p.Stage, trash))
}

func (p *Publisher) fault(step string) error {
	if p.Fault == nil {
		return nil
	}
	return p.Fault(step)
}

func read(name string, do func(plan.Op) error) (plan.Header, error) {
	f, err := os.Open(name)
	if err != nil {
		return plan.Header{}, err
	}
	defer f.Close()
	return plan.Read(f, do)
}

// applier is one Apply.
type applier struct {
	*Publisher
	ctx         context.Context
	tree, stage *tree.Root
	done, total int
	result      Result
}

func (a *applier) open() (err error) {
	if err := os.MkdirAll(filepath.Join(a.Stage, trash), 0o700); err != nil {
		return err
	}
	if a.tree, err = tree.Open(a.Tree); err != nil {
		return err
	}
	if a.stage, err = tree.Open(a.Stage); err != nil {
		a.tree.Close()
	}
	return err
}

func (a *applier) close() {
	a.tree.Close()
	a.stage.Close()
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
	staged, err := a.stage.Stat(op.Source)
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
	if !staged.IsRegular() || staged.Size != op.Size {
		return fmt.Errorf("%w: %q: staged with %d bytes instead of %d", ErrLost, op.Path, staged.Size, op.Size)
	}
	if err := a.stage.SetMode(op.Source, op.Mode); err != nil {
		return err
	}
	if err := a.stage.SetTimes(op.Source, op.Sec, op.Nsec); err != nil {
		return err
	}
	a.result.Files++
	return a.tree.MoveIn(a.stage, op.Source, op.Path)
}

func (a *applier) hard(op plan.Op) error {
	source, err := a.tree.Stat(op.Source)
	if err != nil {
		return err
	}
	if !source.IsRegular() {
		return fmt.Errorf("%w: hard link to %q, which is not a file", ErrObstructed, op.Source)
	}
	have, err := a.tree.Stat(op.Path)
	if err == nil && have.Inode == source.Inode {
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
