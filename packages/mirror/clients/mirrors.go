package clients

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"micromirror/packages/httpd"
	"micromirror/packages/httpd/limit"
	"micromirror/packages/mirror"
	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/publish"
	"micromirror/packages/mirror/status"
	"micromirror/packages/mirror/verify"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

// mirrorWay is one way to mirror.
type mirrorWay struct {
	name string
	dir  string // holds mirror, stage, state, run, logs
	// sync brings the tree in step once.
	sync func(ctx context.Context) error
	// mayFail says which failures of sync are part of its way.
	mayFail func(error) bool
}

// Names of the ways.
const (
	Ours     = "micro mirror"
	Plain    = "rsync -a --delete"
	TwoStage = "two stages"
)

// path is where the tree is served.
const path = "demo"

func mirrors(url string, o Options) []*mirrorWay {
	ours := &mirrorWay{name: Ours, dir: filepath.Join(o.Dir, "ours"), mayFail: recoverable}
	ours.sync = ours.ourWay(strings.TrimSuffix(strings.TrimPrefix(url, "rsync://"), "/m/"), o.Log)
	plain := &mirrorWay{name: Plain, dir: filepath.Join(o.Dir, "plain"), mayFail: exitCodes}
	plain.sync = plain.rsync([]string{"-a", "--delete", url})
	two := &mirrorWay{name: TwoStage, dir: filepath.Join(o.Dir, "two"), mayFail: exitCodes}
	first := []string{"-a"}
	for _, pattern := range []string{"Packages*", "Sources*", "Release*", "InRelease", "i18n/*", "ls-lR*", "repodata/*", "*.db", "*.files"} {
		first = append(first, "--exclude="+pattern)
	}
	two.sync = two.rsync(append(first, url), []string{"-a", "--delete-after", "--delay-updates", url})
	return []*mirrorWay{ours, plain, two}
}

// recoverable reports whether our client leaves it to its next run: upstream is
// changing while it is read. A folder of indexes that is being exchanged is a
// third of this small archive, so that its list may look cut short.
func recoverable(err error) bool {
	return errors.Is(err, mirror.ErrPart) || errors.Is(err, mirror.ErrList) || errors.Is(err, mirror.ErrShrink) || errors.Is(err, verify.ErrInconsistent)
}

// exitCodes reports whether rsync complains of files that vanish while it reads.
func exitCodes(err error) bool {
	exit := new(exec.ExitError)
	return errors.As(err, &exit) && (exit.ExitCode() == 24 || exit.ExitCode() == 23 || exit.ExitCode() == 25)
}

// rsync returns a sync that runs rsync once with each list of arguments.
func (m *mirrorWay) rsync(passes ...[]string) func(context.Context) error {
	return func(ctx context.Context) error {
		tree := filepath.Join(m.dir, "mirror", path)
		if err := os.MkdirAll(tree, 0o755); err != nil {
			return err
		}
		for _, args := range passes {
			out, err := started(ctx, "rsync", append(slices.Clone(args), tree+"/")...).CombinedOutput()
			if err != nil {
				return fmt.Errorf("rsync: %w: %.300s", err, out)
			}
		}
		return nil
	}
}

// ourWay returns a sync that does a run of ours.
func (m *mirrorWay) ourWay(addr string, log *slog.Logger) func(context.Context) error {
	p := project.Complete(path, project.Project{
		Kind: "pacman", Rate: 1 << 30, Upstream: project.Upstream{Host: addr, Module: "m"},
		Index: []string{"dists/**", "repodata/**", "*.db", "*.files"}, Top: []string{"Release", "repomd.xml"},
	})
	gone := map[string]time.Time{}
	states := filepath.Join(m.dir, "state")
	return func(ctx context.Context) error {
		r, err := mirror.Run(ctx, mirror.Job{
			Project: p, Tree: filepath.Join(m.dir, "mirror", path), Stage: filepath.Join(m.dir, "stage", path),
			Editions: filepath.Join(m.dir, "mirror", edition.Folder), Dial: mirror.RsyncDialer(p, nil, time.Minute, log),
			Gone: gone, Grace: time.Hour, Attempts: 1, Now: time.Now, Wait: mirror.Wait, Log: log,
			Progress: func(status.Progress) {}, Recovered: func(publish.Result) {},
		}, mirror.Fetch)
		gone = r.Gone
		if !r.Published {
			return err
		}
		// By this the servers learn of it.
		state := status.State{Name: path, Status: status.Idle, Serving: true, LastChange: time.Now()}
		return errors.Join(err, os.MkdirAll(states, 0o755), state.Save(states))
	}
}

// serve serves the tree over HTTP and rsync until the context ends.
func (m *mirrorWay) serve(ctx context.Context, log *slog.Logger) (at addresses, err error) {
	config := &node.Config{Fleet: node.Fleet{Projects: map[string]project.Project{path: project.Complete(path, project.Project{})}}}
	config.Node.Projects = []string{path}
	if at.http, err = m.serveHTTP(ctx, config, log); err != nil {
		return at, err
	}
	if m.name == Ours {
		at.rsync, err = m.serveModules(ctx, config, log)
		return at, err
	}
	daemon, err := serveRsync(ctx, filepath.Join(m.dir, "rsyncd"), filepath.Join(m.dir, "mirror", path))
	if err != nil {
		return at, err
	}
	context.AfterFunc(ctx, daemon.Stop)
	at.rsync = daemon.url
	return at, nil
}

// serveHTTP serves the tree over HTTP until the context ends.
func (m *mirrorWay) serveHTTP(ctx context.Context, config *node.Config, log *slog.Logger) (url string, err error) {
	dirs := httpd.Dirs{Root: filepath.Join(m.dir, "mirror"), State: filepath.Join(m.dir, "state"), Run: filepath.Join(m.dir, "run"), Logs: filepath.Join(m.dir, "logs")}
	for _, dir := range []string{filepath.Join(dirs.Root, edition.Folder), dirs.State, filepath.Join(dirs.Run, "syncd"), dirs.Logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
	}
	site, journal, err := httpd.NewSite(ctx, config, dirs, log)
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		err := httpd.Serve(ctx, l.(*net.TCPListener), httpd.Config{Site: site, Journal: journal, Limits: limit.NewTable(limit.Of(&config.Fleet)), Log: log})
		if err != nil && ctx.Err() == nil {
			log.Error("serving", "err", err)
		}
	}()
	return fmt.Sprintf("http://%s/%s", l.Addr(), path), nil
}
