// Package service keeps the projects of a node in step with upstream: it decides
// when a run of package mirror is due, and tells how it went.
//
// Each project runs once a day (jittered), soon after a start when it is
// overdue, at once on a trigger or push, and after a failure again with growing pauses.
// A trigger during a run causes exactly one more run. At most Config.Parallel
// runs are on at a time, so that one large project does not hold up the others.
//
// Before anything else an interrupted publish is finished. As long as one is
// pending, whatever ended it, the project's state says serving=false; after one
// that cannot be finished until a run has published the whole list. Whatever upstream does, what is there
// stays served.
//
// After each run, and once a day if none succeeds, a sample of the tree is compared
// with upstream; what is wrong is fetched again, and the project's rule may take
// it out of service. Trees of projects that are not hosted any more are reported
// and deleted after Config.Keep.
//
// Files owned: /perm/state/syncd/<project>.json and .gone and unhosted.json, the
// mirror tree and stage (through package mirror), /run/syncd/<project>.progress.json. Socket:
// /run/syncd/trigger takes lines "<project>" or "<project> allow-shrink" and
// answers each with "ok" or a reason. Failure: a project's trouble is in its
// state and log and never ends the service.
package service

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"micromirror/packages/mirror"
	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/plan"
	"micromirror/packages/mirror/push"
	"micromirror/packages/mirror/status"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

// Config says what to synchronise and where. All directories must exist.
type Config struct {
	Node *node.Config
	// Mirror, Stage, State and Run are folders; Mirror and Stage on one file
	// system.
	Mirror, Stage, State, Run string
	// Grace is how long vanished files are kept; 0 is not at all.
	Grace time.Duration
	// Interval is the time between runs that nothing triggers; default a day.
	Interval time.Duration
	// Retry is the pause after the first failure; default ten seconds.
	Retry time.Duration
	// Reserve is the number of bytes to leave free on the disk.
	Reserve int64
	// Parallel bounds the runs that are on at a time; default 2.
	Parallel int
	// Worker is the command line that runs worker.Main; with none, the first half
	// of a run is done by Fetch in this process (default mirror.Fetch).
	Worker []string
	Fetch  func(context.Context, mirror.Job) (mirror.Outcome, error)
	// Check compares a sample with upstream when there is no worker to do it; nil
	// leaves that out.
	Check func(context.Context, mirror.Job) (mirror.Checked, error)
	// Online is called before the first run and returns when the network can be
	// used; it may be nil.
	Online func(ctx context.Context)
	// Keep is how long the tree of a project stays that is not hosted any more;
	// default a week.
	Keep time.Duration
	// Cmdline is the kernel's command line, by which a test may order faults.
	Cmdline string
	// Published is called after a project's tree has changed; it may be nil.
	Published func(project string)
	Log       *slog.Logger
}

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Interval, 24*time.Hour)
	set(&c.Retry, 10*time.Second)
	set(&c.Keep, 7*24*time.Hour)
	if c.Parallel == 0 {
		c.Parallel = 2
	}
	if c.Fetch == nil {
		c.Fetch = mirror.Fetch
	}
}

// Service is the running set of projects.
type Service struct {
	cfg     Config
	shared  *rate.Limiter
	gate    *gate
	keepers map[string]*keeper
}

// New prepares a service for the projects of the configuration.
func New(cfg Config) *Service {
	cfg.defaults()
	s := &Service{cfg: cfg, gate: &gate{free: cfg.Parallel}, keepers: map[string]*keeper{}}
	if r := cfg.Node.Node.SyncRate; r > 0 {
		s.shared = rate.NewLimiter(rate.Limit(r), int(max(r/4, 64<<10)))
	}
	for _, p := range cfg.Node.Projects() {
		s.keepers[p.Name] = &keeper{service: s, project: p, due: make(chan request, 1)}
	}
	return s
}

// Run works until the context ends.
func (s *Service) Run(ctx context.Context) error {
	s.inherit()
	if err := s.recover(ctx); err != nil {
		return err
	}
	s.forget()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { s.clean(ctx.Done()); return nil })
	group.Go(func() error { return s.listen(ctx) })
	if fleet := &s.cfg.Node.Fleet; fleet.MQTT.Broker != "" {
		group.Go(func() error { return push.Listen(ctx, s.pushes()) })
	}
	if s.cfg.Online != nil {
		s.cfg.Online(ctx)
	}
	for _, name := range s.order() {
		group.Go(s.keepers[name].start(ctx))
	}
	return group.Wait()
}

// order lists the projects, small ones first.
func (s *Service) order() []string {
	var names []string
	for name := range s.keepers {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		pa, pb := s.keepers[a].project, s.keepers[b].project
		return int(min(max(pa.Size-pb.Size, -1), 1))
	})
	return names
}

// recover finishes interrupted publishes of all projects before any run.
func (s *Service) recover(ctx context.Context) error {
	for _, k := range s.keepers {
		k.load()
		job := k.job(false)
		k.end(job) // a run that was cut off has left its mark
		// The state on the disk may be older than what happened to the tree.
		was := k.state.Serving
		if k.judge(job); was != k.state.Serving {
			k.save()
		}
		pending := mirror.Pending(job)
		res, err := mirror.Recover(ctx, job)
		if !pending && err == nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			k.recovered(job, res)
			continue
		}
		k.state.ErrorMsg = oneLine(err)
		k.judge(job)
		k.save()
		s.cfg.Log.Error(k.project.Name+": finishing an interrupted publish failed", "err", err)
	}
	return nil
}

// editions is the folder by which index files become valid together.
func (s *Service) editions() string { return filepath.Join(s.cfg.Mirror, edition.Folder) }

// forget removes stages and editions of projects that are not hosted any more.
// Their trees stay for a while, see unhosted; their states, by which one is known
// again under another name, take no space.
func (s *Service) forget() {
	if len(s.keepers) == 0 {
		return // more likely a configuration that cannot be read
	}
	entries, err := os.ReadDir(s.cfg.Stage)
	if err != nil {
		s.cfg.Log.Warn("cleaning the stage", "err", err)
		return
	}
	for _, e := range entries {
		if s.keepers[e.Name()] == nil && !s.unfinished(e.Name()) {
			if err := os.RemoveAll(filepath.Join(s.cfg.Stage, e.Name())); err != nil {
				s.cfg.Log.Warn("cleaning the stage", "err", err)
			}
		}
	}
	err = edition.Forget(s.editions(), func(path string) bool { return s.holds(path) == exactly })
	if err != nil {
		s.cfg.Log.Warn("cleaning editions", "err", err)
	}
}

// Trigger asks for a run of a project now, or after the one that is on.
func (s *Service) Trigger(name string, allowShrink bool) error {
	k := s.keepers[name]
	if k == nil {
		return fmt.Errorf("project %q is not hosted here", name)
	}
	select {
	case pending := <-k.due: // one is enough, with the rights of both
		allowShrink = allowShrink || pending.allowShrink
	default:
	}
	select {
	case k.due <- request{allowShrink: allowShrink}:
	default: // another trigger was faster
	}
	return nil
}

// TriggerAll asks for a run of every project.
func (s *Service) TriggerAll() {
	for name := range s.keepers {
		s.Trigger(name, false)
	}
}

// pushes listens for what the fleet's upstream says about projects.
func (s *Service) pushes() push.Config {
	fleet := &s.cfg.Node.Fleet
	c := push.Config{Broker: fleet.MQTT.Broker, Client: s.cfg.Node.Hostname(), Upstream: fleet.Upstream, Pushed: s.pushed, Log: s.cfg.Log}
	if fleet.MQTT.TLS {
		c.TLS = &tls.Config{}
	}
	return c
}

// pushed triggers all projects with the topic: several can be made of one
// upstream project.
func (s *Service) pushed(topic string) {
	for name, k := range s.keepers {
		if k.project.Topic == topic {
			s.cfg.Log.Info("pushed", "project", name)
			s.Trigger(name, false)
		}
	}
}

// request is a trigger.
type request struct{ allowShrink bool }

// keeper looks after one project.
type keeper struct {
	service *Service
	project project.Project
	state   status.State
	due     chan request
	wrong   []string // files that the last check found to be wrong, until a run
}

func (k *keeper) load() {
	s := status.Load(k.service.cfg.State, k.project.Name)
	if s.Path != "" && s.Path != k.project.Path { // where it is to be now there is nothing yet
		s = status.State{Name: k.project.Name, Status: status.Never, Serving: true}
	}
	s.Title, s.Path = k.project.Title, k.project.Path
	s.Upstream = "rsync://" + k.project.Upstream.Host + "/" + k.project.Upstream.Module + "/" + k.project.Upstream.Path
	if s.Status == status.Syncing { // the last run was cut off
		s.Status = status.Failed
	}
	k.state = s
}

// save writes the state; that it cannot must not stop the mirror.
func (k *keeper) save() {
	if err := k.state.Save(k.service.cfg.State); err != nil {
		k.service.cfg.Log.Error("saving state", "err", err)
	}
}

func (k *keeper) goneFile() string {
	return filepath.Join(k.service.cfg.State, k.project.Name+".gone")
}

func (k *keeper) keepGone(gone map[string]time.Time) {
	if err := plan.SaveGone(k.goneFile(), k.project.Name, gone); err != nil {
		k.service.cfg.Log.Error("saving tombstones", "project", k.project.Name, "err", err)
	}
}

// start takes the project's place in the queue, if it is due, and returns its
// loop.
func (k *keeper) start(ctx context.Context) func() error {
	pause := k.first()
	if pause > 0 {
		return func() error { return k.loop(ctx, pause) }
	}
	place := k.service.gate.enqueue(int64(k.project.Size))
	return func() error {
		pause, err := k.turn(ctx, place, request{})
		if err != nil {
			return err
		}
		return k.loop(ctx, pause)
	}
}

// loop runs the project whenever it is due.
func (k *keeper) loop(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		var req request
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		case req = <-k.due:
		}
		pause, err := k.turn(ctx, k.service.gate.enqueue(int64(k.project.Size)), req)
		if err != nil {
			return err
		}
		timer.Reset(pause)
	}
}

// turn waits for the place to come up and does a run.
func (k *keeper) turn(ctx context.Context, place *ticket, req request) (time.Duration, error) {
	if err := k.service.gate.wait(ctx, place); err != nil {
		return 0, err
	}
	defer k.service.gate.release()
	return k.run(ctx, req), nil
}

// first is the pause before the first run after a start: none for a project
// that has nothing or is overdue.
func (k *keeper) first() time.Duration {
	if k.state.LastUpdate.IsZero() || k.state.Status != status.Idle {
		return 0
	}
	wait := time.Until(k.state.NextSchedule)
	return min(max(wait, 0), k.service.cfg.Interval)
}

// pause is the time to the next run: the interval, or after failures a growing
// one, both with jitter so that the nodes of a fleet do not come all at once.
func (k *keeper) pause() time.Duration {
	d := k.service.cfg.Interval
	if n := k.state.Failures; n > 0 && k.state.Status == status.Failed {
		d = min(k.service.cfg.Retry<<min(n-1, 10), time.Hour, d)
	}
	return d - rand.N(d/4+1)
}
