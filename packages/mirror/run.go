package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/publish"
	"micromirror/packages/mirror/status"
)

// Report is what a whole run did.
type Report struct {
	Outcome
	// Published is false when there was nothing to publish.
	Published      bool
	Files, Dropped int
	// Gone are the tombstones for the next run.
	Gone map[string]time.Time
}

// Run does a whole run: the rest of an interrupted publish, fetch, publish.
// fetch is Fetch, or something that does it in another process.
func Run(ctx context.Context, j Job, fetch func(context.Context, Job) (Outcome, error)) (Report, error) {
	r := Report{Gone: j.Gone}
	if err := os.MkdirAll(j.Tree, 0o755); err != nil {
		return r, fmt.Errorf("make tree: %w", err)
	}
	if Pending(j) {
		if err := r.recover(ctx, &j); err != nil {
			return r, err
		}
	}
	var err error
	if r.Outcome, err = fetch(ctx, j); err != nil {
		return r, err
	}
	if r.Proposal != "" {
		if err := r.publish(ctx, j); err != nil {
			return r, err
		}
	}
	if r.Full {
		return r, r.Failed
	}
	if !r.Outcome.Complete {
		return r, fmt.Errorf("%w: %w", ErrPart, r.Failed)
	}
	// A tree in which there was nothing to change is whole, too.
	return r, j.publisher().Mended()
}

// recover finishes an interrupted publish and says so: what follows may fail. One
// that was given up is no obstacle for the run, which mends the tree.
func (r *Report) recover(ctx context.Context, j *Job) error {
	res, err := Recover(ctx, *j)
	if errors.Is(err, ErrGivenUp) {
		return nil
	}
	if err != nil {
		return err
	}
	if res.Complete {
		r.Gone, j.Gone = res.Gone, res.Gone
	}
	if j.Recovered != nil {
		j.Recovered(res)
	}
	return nil
}

// publish commits the proposal and carries it out.
func (r *Report) publish(ctx context.Context, j Job) error {
	s, err := openStage(j.Stage)
	if err != nil {
		return err
	}
	defer s.close()
	// The path is ours to choose, whatever a worker said, and what is audited is a
	// copy that none of its remains can still change.
	proposal := filepath.Join(j.Stage, proposalFile)
	if err := adopt(s.path(proposalFile), proposal); err != nil {
		return err
	}
	if err := j.audit(proposal); err != nil {
		return err
	}
	p := j.publisher()
	if err := p.Commit(proposal); err != nil {
		return err
	}
	res, err := p.Apply(ctx)
	r.Files, r.Dropped = res.Files, res.Dropped
	if err != nil {
		return err
	}
	r.Published = true
	if !res.Complete {
		return nil
	}
	r.Gone = res.Gone
	return s.clean()
}

// maxProposal is several times what a list of the largest size comes to.
const maxProposal = 8 << 30

// adopt copies a proposal and makes the copy safe. What lies there need not be a
// file: one who waits for a pipe waits for ever, and a link could lead to what
// the one who made it may not read.
func adopt(from, to string) error {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAudit, err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAudit, err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxProposal {
		return fmt.Errorf("%w: it is no file, or has %d bytes", ErrAudit, info.Size())
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("adopt proposal: %w", err)
	}
	_, err = io.CopyN(out, in, info.Size())
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("adopt proposal: %w", err)
	}
	return os.Remove(from)
}

func (j *Job) publisher() *publish.Publisher {
	var press *edition.Press
	if j.Editions != "" {
		press = &edition.Press{Dir: j.Editions, Path: j.Project.Path}
	}
	return &publish.Publisher{
		Press: press,
		Tree:  j.Tree, Stage: j.Stage, Fault: j.Fault,
		Progress: func(done, total int) {
			j.Progress(status.Progress{Phase: "publish", FilesDone: int64(done), FilesTotal: int64(total)})
		},
	}
}

// Pending reports whether an interrupted publish waits to be finished. Until it
// is, the tree must not be served.
func Pending(j Job) bool { return j.publisher().Pending() }

// Torn reports whether an interrupted publish was given up, and no run has made
// the tree whole since. Until one has, the tree must not be served.
func Torn(j Job) bool { return j.publisher().Torn() }

// Recover finishes an interrupted publish, if there is one. A plan that cannot
// be finished is given up: the next run makes one that heals the tree.
func Recover(ctx context.Context, j Job) (publish.Result, error) {
	p := j.publisher()
	if !p.Pending() {
		return publish.Result{}, p.Tidy()
	}
	s, err := openStage(j.Stage)
	if err != nil {
		return publish.Result{}, err
	}
	defer s.close()
	res, err := p.Apply(ctx)
	if err == nil || ctx.Err() != nil || !p.Pending() {
		return res, err
	}
	if !lasting(err) && (passing(err) || !j.GiveUp) {
		return res, err
	}
	j.Log.Error("giving up an interrupted publish", "project", j.Project.Name, "err", err)
	if err := p.Discard(); err != nil {
		return publish.Result{}, fmt.Errorf("give up an interrupted publish: %w", err)
	}
	return publish.Result{}, fmt.Errorf("%w: %w", ErrGivenUp, err)
}

// lasting reports whether the same operation can never succeed, so that its plan
// is worth nothing: the plan or the stage is damaged, or something is in the way.
func lasting(err error) bool {
	return among(err, publish.ErrLost, publish.ErrObstructed, plan.ErrFormat,
		unix.ENOENT, unix.EEXIST, unix.ENOTEMPTY, unix.ENOTDIR, unix.EISDIR, unix.ELOOP)
}

// passing reports whether the same operation is expected to succeed once the disk
// or the memory is well again.
func passing(err error) bool {
	return among(err, unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EROFS, unix.ENOMEM, unix.EMFILE, unix.ENFILE)
}

func among(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// OwnNames is a Job's Own for a list of names.
func OwnNames(names []string) func(name string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// Wait is a Job's Wait on the real clock.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
