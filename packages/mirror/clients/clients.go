// Package clients lets real package managers work with a mirror while its
// upstream brings out one version after the other, and counts what fails.
//
// Three mirrors follow the same upstream, each told of every version at once: ours (package
// mirror, served with editions), `rsync -a --delete`, and the two-stage recipe
// (packages first, then everything with deletions). All are served by httpd, and
// by rsync: ours by our daemon, the others by rsync's own. With each work apt with
// and without by-hash, dnf and pacman, over and over: fetch the index, then download
// what it names; and a further mirror with rsync, which must each time get one
// version of everything. Else a failure is a program's own: its exit code.
//
// Promise: nothing of this computer's own package managers is touched; every one
// works in a folder of its own. Needs Debian's apt, dpkg, dnf, createrepo-c, rpm,
// pacman-package-manager, makepkg and rsync. Ports: some on loopback.
package clients

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
)

// Options say how long to go on.
type Options struct {
	// Dir is a folder to work in; it should be in memory.
	Dir string
	// Versions is how many versions upstream brings out.
	Versions int
	// Rounds is how often every client has to work with every version.
	Rounds int
	// Progress is told of each version, and what came of those before it; it may be
	// nil.
	Progress func(version int, results []Result)
	Log      *slog.Logger
}

// Result is how one kind of client fared with one mirror.
type Result struct {
	Mirror, Client string
	Rounds, Failed int
	// Example is what the client said of the last failure.
	Example string
}

// Run lets them all work and returns what came of it.
func Run(ctx context.Context, o Options) ([]Result, error) {
	up, err := newUpstream(ctx, filepath.Join(o.Dir, "upstream"), filepath.Join(o.Dir, "build"))
	if err != nil {
		return nil, err
	}
	if err := up.release(ctx, 1); err != nil {
		return nil, err
	}
	daemon, err := serveRsync(ctx, filepath.Join(o.Dir, "rsyncd"), up.dir)
	if err != nil {
		return nil, err
	}
	defer daemon.Stop()
	w := &work{Options: o, up: up, next: make(chan struct{}, 1), pushed: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.fail = func(err error) { cancel(err) }
	for _, m := range mirrors(daemon.url, o) {
		if err := w.start(ctx, m); err != nil {
			return nil, err
		}
	}
	err = w.versions(ctx)
	cancel(errDone)
	w.group.Wait()
	return w.results(), err
}

var errDone = fmt.Errorf("all versions are out")

// work is one Run.
type work struct {
	Options
	up    *upstream
	fail  func(error)
	group sync.WaitGroup
	next  chan struct{} // a client has done a round
	sides []*side

	mu     sync.Mutex
	loops  []*loop
	pushed chan struct{} // closed by the next push
}

// burst is how many rounds a client does after its mirror is in step, before it
// waits for slower ones.
const burst = 2

// side is a mirror in its work.
type side struct {
	pushes chan struct{}
	told   int  // pushes so far
	behind bool // its tree is not yet in step with the last of them
}

// loop is one client with one mirror.
type loop struct {
	Result
	side  *side
	since int // rounds since the last version
	laps  int // rounds since the mirror was in step
}

// start lets a mirror and its clients run until the context ends.
func (w *work) start(ctx context.Context, m *mirrorWay) error {
	if err := m.sync(ctx); err != nil {
		return fmt.Errorf("%s: first run: %w", m.name, err)
	}
	at, err := m.serve(ctx, w.Log)
	if err != nil {
		return err
	}
	s := &side{pushes: make(chan struct{}, 1)}
	w.sides = append(w.sides, s)
	w.group.Go(func() { w.follow(ctx, m, s) })
	for _, c := range programs() {
		dir := filepath.Join(m.dir, strings.ReplaceAll(c.name, " ", "-"))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		round, err := c.prepare(dir, at)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		l := &loop{Result: Result{Mirror: m.name, Client: c.name}, side: s}
		w.loops = append(w.loops, l)
		w.group.Go(func() { w.repeat(ctx, l, round) })
	}
	return nil
}

// follow brings a mirror in step with each version, at once when it is told of
// one and again while that fails.
func (w *work) follow(ctx context.Context, m *mirrorWay, s *side) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.pushes:
		}
		told := w.told(s)
		for err := m.sync(ctx); err != nil && ctx.Err() == nil; err = m.sync(ctx) {
			if !m.mayFail(err) {
				w.fail(fmt.Errorf("%s: %w", m.name, err))
				return
			}
		}
		w.inStep(s, told)
	}
}

// told is how often a mirror has been told of a version.
func (w *work) told(s *side) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s.told
}

// inStep notes that a mirror has what it was told of then.
func (w *work) inStep(s *side, told int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.told > told {
		return // and has been told of more since
	}
	s.behind = false
	for _, l := range w.loops {
		if l.side == s {
			l.laps = 0
		}
	}
}

// push tells the mirrors of a version.
func (w *work) push() {
	w.mu.Lock()
	for _, s := range w.sides {
		s.told++
		s.behind = true
	}
	close(w.pushed)
	w.pushed = make(chan struct{})
	w.mu.Unlock()
	for _, s := range w.sides {
		select {
		case s.pushes <- struct{}{}:
		default:
		}
	}
}

// repeat does rounds until the context ends.
func (w *work) repeat(ctx context.Context, l *loop, round func(context.Context) error) {
	for ctx.Err() == nil {
		err := round(ctx)
		if ctx.Err() != nil {
			return
		}
		pushed, rest := w.count(l, err)
		select {
		case w.next <- struct{}{}:
		default:
		}
		if !rest {
			continue
		}
		select {
		case <-ctx.Done():
		case <-pushed:
		}
	}
}

// count notes a round, and says whether the client may rest until a push: while
// its mirror is changing it goes on without a pause.
func (w *work) count(l *loop, err error) (pushed <-chan struct{}, rest bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.Rounds++
	l.since++
	l.laps++
	if err != nil {
		l.Failed++
		l.Example = err.Error()
		if l.Mirror == Ours { // while the logs around it are at hand
			w.Log.Error("a client of ours failed", "client", l.Client, "round", l.Rounds, "err", err)
		}
	}
	return w.pushed, !l.side.behind && l.laps >= burst
}

// versions brings one version out after the other, each when every client has
// worked with the one before it.
func (w *work) versions(ctx context.Context) error {
	for v := 2; v <= w.Versions; v++ {
		for !w.ready() {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-w.next:
			}
		}
		if err := w.up.release(ctx, v); err != nil {
			if ctx.Err() != nil { // which ends the programs that make a version
				return context.Cause(ctx)
			}
			return err
		}
		w.push()
		if w.Progress != nil {
			w.Progress(v, w.results())
		}
	}
	for !w.ready() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.next:
		}
	}
	return nil
}

// ready reports whether every client has done its rounds, and counts anew if so.
func (w *work) ready() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.loops {
		if l.since < w.Rounds {
			return false
		}
	}
	for _, l := range w.loops {
		l.since = 0
	}
	return true
}

func (w *work) results() []Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Result
	for _, l := range w.loops {
		out = append(out, l.Result)
	}
	return out
}

// Print writes the results as a table.
func Print(out io.Writer, results []Result) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "mirror\tclient\trounds\tfailed\texample")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%.100s\n", r.Mirror, r.Client, r.Rounds, r.Failed, r.Example)
	}
	return w.Flush()
}
