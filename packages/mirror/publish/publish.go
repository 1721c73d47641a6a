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
// The index files of a plan become valid at once for who reads the tree through
// editions (package edition). What a reader of the bare tree sees is a prefix of
// the plan.
//
// A plan that is given up (Discard) leaves the tree torn. That is durable too,
// in the same step, until a plan for the whole tree is done (or Mended).
//
// Files owned: in the stage folder of the project the plan file, the torn one,
// trash and the temporary link; the project's editions. The content comes from
// the folder FetchDir in it, which is all that the process that fetches can
// write to: whether a publish is pending or was given up is out of its reach.
// Failure: an operation that fails ends Apply with the journal in
// place. ErrLost, ErrObstructed and plan.ErrFormat mean that trying again cannot help.
package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/durable"
	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/tree"
)

// Names in a project's stage folder.
const (
	PlanFile = "plan"
	FetchDir = "fetch"
	TornFile = "torn" // the plan that was given up; whatever it holds, the tree is not whole
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
	// Press brings out editions; with none, index files are replaced one after
	// another.
	Press *edition.Press
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
func (p *Publisher) Torn() bool { return p.has(TornFile) }

// has takes a file that it cannot ask for as there: that is the safe side.
func (p *Publisher) has(name string) bool {
	_, err := os.Lstat(filepath.Join(p.Stage, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// Commit makes the staged files and the plan in proposal, a file of the stage
// folder, durable, and the proposal the journal.
func (p *Publisher) Commit(proposal string) error {
	if err := p.fault("sync"); err != nil {
		return err
	}
	if err := durable.SyncFS(p.Stage); err != nil {
		return fmt.Errorf("commit plan: %w", err)
	}
	if err := p.Tidy(); err != nil {
		return err
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
	if err := durable.Rename(filepath.Join(p.Stage, PlanFile), filepath.Join(p.Stage, TornFile)); err != nil {
		return err
	}
	return p.Tidy()
}

// Tidy withdraws an edition that no pending plan will.
func (p *Publisher) Tidy() error {
	if p.Press == nil || p.Pending() {
		return nil
	}
	return p.Press.Abandon()
}

// Mended notes that the tree is whole.
func (p *Publisher) Mended() error {
	if !p.Torn() {
		return nil
	}
	return durable.Remove(filepath.Join(p.Stage, TornFile))
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
	return a.result, errors.Join(p.Tidy(), tree.Discard(filepath.Join(p.Stage, trash)))
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
