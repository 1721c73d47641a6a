package mirror

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/status"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/mirror/verify"
	"micromirror/packages/project"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// Fetch does everything of a run up to the publish: afterwards the stage holds
// the content and the proposal.
func Fetch(ctx context.Context, j Job) (Outcome, error) {
	s, err := openStage(j.Stage)
	if err != nil {
		return Outcome{}, err
	}
	defer s.close()
	return fetchLocked(ctx, &j, s)
}

// fetchLocked connects until an attempt comes to its end. What one attempt
// fetched the next need not.
func fetchLocked(ctx context.Context, j *Job, s *stage) (Outcome, error) {
	attempts := cmp.Or(j.Attempts, 3)
	for n := 1; ; n++ {
		out, err := attempt(ctx, j, s)
		final := n >= attempts || ctx.Err() != nil || permanent(err) || out.Full
		if err == nil && !out.Complete && !final {
			err = fmt.Errorf("%w: %w", ErrPart, out.Failed)
		}
		if err == nil || final {
			return out, err
		}
		pause := time.Duration(n) * 5 * time.Second
		j.Log.Warn("attempt failed, trying again", "project", j.Project.Name, "attempt", n, "pause", pause, "err", err)
		if err := j.Wait(ctx, pause); err != nil {
			return out, err
		}
	}
}

// errMoving is the refusal of a list that the next moment may bring whole.
var errMoving = errors.New("upstream listed them")

// permanent reports whether connecting again at once cannot help.
func permanent(err error) bool {
	if errors.Is(err, errMoving) {
		return false
	}
	for _, e := range []error{ErrList, ErrShrink, ErrFull, client.ErrRefused, unix.ENOSPC, unix.EROFS, unix.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// attempt is one connection.
func attempt(ctx context.Context, j *Job, s *stage) (Outcome, error) {
	out := Outcome{Listed: j.Now()}
	if err := j.fault("list"); err != nil {
		return out, err
	}
	j.Progress(status.Progress{Phase: "list"})
	up, err := j.Dial(ctx)
	if err != nil {
		return out, err
	}
	defer up.Close()
	list, err := up.List(ctx)
	if err != nil {
		return out, err
	}
	if err := j.checkList(list); err != nil {
		return out, err
	}
	root, err := tree.Open(j.Tree)
	if err != nil {
		return out, err
	}
	defer root.Close()
	p, err := j.plan(list, root)
	if err != nil {
		return out, err
	}
	out.Files, out.Bytes = p.Counts.ListFiles, p.Counts.ListBytes
	failed, err := j.content(ctx, s, up, list, p)
	if errors.Is(err, ErrFull) && p.Overdue() {
		out.Full, out.Failed, out.Proposal = true, err, s.path(proposalFile)
		return out, j.propose(out.Proposal, list, p, nil, true)
	}
	if err != nil {
		return out, err
	}
	if err := j.guard(s, list, p); err != nil {
		return out, err
	}
	for i, err := range failed {
		out.Failed = fmt.Errorf("%d files, such as %q: %w", len(failed), list.Name(i), err)
		break
	}
	// What upstream has not been able to send for long is left out; what does not
	// fit together is not published without.
	out.Complete = len(failed) == 0 || j.TolerateFailed && !errors.Is(out.Failed, verify.ErrInconsistent)
	out.FetchedFiles, out.FetchedBytes = p.Counts.FetchFiles, p.Counts.FetchBytes
	if out.Complete && p.Unchanged() {
		return out, nil
	}
	out.Proposal = s.path(proposalFile)
	return out, j.propose(out.Proposal, list, p, failed, out.Complete)
}

// checkList refuses lists that do not describe a tree.
func (j *Job) checkList(l *flist.List) error {
	up := &j.Project.Upstream
	empty := !namesFile(l)
	switch {
	case l.IOError != 0 && empty && up.Path != "":
		return fmt.Errorf("%w: upstream %s has no folder %q in module %q, it is gone or renamed: correct upstream.path of project %s in fleet.json",
			ErrList, up.Host, up.Path, up.Module, j.Project.Name)
	case l.IOError == wire.IOErrVanished:
		return fmt.Errorf("%w: files vanished while %w", ErrList, errMoving)
	case l.IOError != 0:
		return fmt.Errorf("%w: upstream could not read all of its files (flags %#x)", ErrList, l.IOError)
	case empty:
		return fmt.Errorf("%w: it names no file", ErrList)
	}
	return nil
}

func namesFile(l *flist.List) bool {
	for i := range l.Len() {
		if l.Active(i) && l.Mode(i)&flist.ModeType != flist.ModeDir {
			return true
		}
	}
	return false
}

// plan compares list and tree.
func (j *Job) plan(list *flist.List, root *tree.Root) (*plan.Plan, error) {
	if err := j.fault("plan"); err != nil {
		return nil, err
	}
	j.Progress(status.Progress{Phase: "plan", FilesTotal: int64(list.Len())})
	own := j.Own
	if own == nil {
		own = func(string) bool { return false }
	}
	p, err := plan.Make(plan.Input{
		List: list, Tree: root, Phase: j.Project.Phase, Own: own,
		Escapes:  plan.Escapes(j.Project.Path, j.Project.SafeLinks),
		Distrust: j.Distrust,
		Gone:     j.Gone, Now: j.Now(), Grace: j.Grace,
	})
	if err != nil {
		return nil, err
	}
	return p, j.checkShrink(&p.Counts)
}

// fewFiles may always go: a share of a small tree says nothing.
const fewFiles = 16

func (j *Job) checkShrink(c *plan.Counts) error {
	limit := int64(cmp.Or(j.Project.MaxDelete, project.DefaultMaxDelete)) * c.LocalFiles / 100
	if j.AllowShrink || c.NewGone <= max(limit, fewFiles) {
		return nil
	}
	return fmt.Errorf("%w: %d of %d files are gone from upstream's list, the bound is %d", ErrShrink, c.NewGone, c.LocalFiles, limit)
}

// propose writes the plan file.
func (j *Job) propose(name string, list *flist.List, p *plan.Plan, failed map[int]error, complete bool) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<16)
	skip := make(map[int]bool, len(failed))
	for i := range failed {
		skip[i] = true
	}
	if err := p.Write(w, j.Project.Name, func(i int) string { return stageName(list.Name(i)) }, skip, complete); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return f.Close()
}
