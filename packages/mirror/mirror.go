// Package mirror brings a served tree into step with upstream, one run at a
// time.
//
// A run is list → plan → fetch → verify, which end in a plan file in the
// project's stage (Fetch), and then publish (package publish). Fetch changes
// nothing outside the stage, so it can run in a process that could do no more;
// Run does both in one.
//
// Promises:
//
//   - Nothing is published from a list that is empty, cut short, flagged with an
//     I/O error by its sender, or that would make more of the tree vanish than
//     the project allows.
//   - An index file is published only when every file that its list came with is
//     there. After a run with failures only content is, unless
//     Job.TolerateFailed says so.
//   - Index files that do not fit together or name files that upstream does not
//     have (package verify) are not published, unless Job.Tolerate says so.
//   - What vanished upstream is kept for the grace period; afterwards it goes even
//     if there is no room for what is new.
//   - A run that ends early, however, leaves fetched bytes in the stage for the
//     next one.
//   - A run that finds no difference writes nothing.
//
// Files: the tree and the stage of one project, both on one file system; the
// stage is locked for the length of a run. Ports: none listened on; the
// connection to upstream is made by Upstream.
package mirror

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"micromirror/packages/mirror/publish"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
)

// Upstream is one connection to a module. List is called first and once,
// Transfer at most once after it. Cancelling the context of either ends the
// connection. The contract of both is that of packages/rsync/client.
type Upstream interface {
	List(ctx context.Context) (*flist.List, error)
	Transfer(ctx context.Context, r client.Request) (client.Result, error)
	Close() error
}

// Errors that a run can end with, beside those of the network and the disk.
var (
	ErrList   = errors.New("list refused")
	ErrShrink = errors.New("list would delete too much")
	ErrFull   = errors.New("not enough disk space")
	ErrBusy   = errors.New("already running")
	ErrPart   = errors.New("some files could not be fetched")
	// ErrGivenUp is what Recover ends with when the rest of a publish cannot be
	// done: the tree stays Torn until a run has published all.
	ErrGivenUp = errors.New("interrupted publish is given up")
)

// Job is a project to be synchronised.
type Job struct {
	Project project.Project
	// Tree is the served folder, Stage the private one.
	Tree, Stage string
	// Editions is the folder of editions, by which index files become valid
	// together; "" for none.
	Editions string
	// Dial connects to upstream.
	Dial func(ctx context.Context) (Upstream, error)
	// Gone are the tombstones of the last run.
	Gone  map[string]time.Time
	Grace time.Duration
	// Own names files in the tree that are the node's; nil means none.
	Own func(name string) bool
	// Reserve is the number of bytes to leave free on the disk.
	Reserve int64
	// AllowShrink lifts the bound on deletions for this run.
	AllowShrink bool
	// Tolerate publishes index files that do not fit together: what upstream
	// shows unchanged for hours is how it is.
	Tolerate bool
	// TolerateFailed publishes without the files that upstream fails to send,
	// which otherwise hold back every index and deletion.
	TolerateFailed bool
	// GiveUp gives up an interrupted publish that fails for a reason of which it is
	// not known whether it lasts.
	GiveUp bool
	// Distrust names files of the tree that are not what they should be: they are
	// fetched although size and time agree.
	Distrust []string
	// Attempts is how often one run connects; 0 means 3.
	Attempts int
	// Now is the clock; Wait sleeps between attempts.
	Now  func() time.Time
	Wait func(ctx context.Context, d time.Duration) error
	Log  *slog.Logger
	// Recovered is told of an interrupted publish that this run has finished,
	// before it goes on; it may be nil.
	Recovered func(publish.Result)
	// Progress is told where the run is.
	Progress func(status.Progress)
	// Fault is called before each step and may return an error to break the run
	// off there; tests inject it. It may be nil.
	Fault func(step string) error
}

// Outcome is what a Fetch found.
type Outcome struct {
	// Listed is when the list was asked for.
	Listed time.Time
	// Files and Bytes are the size of upstream's tree as mirrored.
	Files, Bytes int64
	// Fetched is what was transferred.
	FetchedFiles, FetchedBytes int64
	// Proposal is the plan file to commit; empty when there is nothing to do.
	Proposal string
	// Complete is false when some files failed and are not tolerated; Failed names
	// one of them in either case.
	Complete bool
	// Full says that there is no room, for which Failed is the reason, and that the
	// proposal only deletes what is due.
	Full   bool
	Failed error
}

func (j *Job) fault(step string) error {
	if j.Fault == nil {
		return nil
	}
	return j.Fault(step)
}
