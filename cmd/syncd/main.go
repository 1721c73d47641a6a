// Command syncd keeps the mirror tree in step with upstream; package
// mirror/service says what it promises.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/mirror/service"
	"micromirror/packages/mirror/worker"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

func main() {
	var f flags
	flag.StringVar(&f.mirror, "mirror", layout.MirrorDir, "directory of the served tree")
	flag.StringVar(&f.stage, "stage", layout.StageDir, "directory for what is not yet published, on the same file system")
	flag.StringVar(&f.state, "state", layout.StateDir+"/syncd", "directory of the projects' state")
	flag.StringVar(&f.run, "run", layout.RunDir+"/syncd", "directory of progress files and the trigger socket")
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.DurationVar(&f.grace, "grace", 24*time.Hour, "how long files stay that vanished upstream")
	flag.Int64Var(&f.reserve, "reserve", 256<<20, "bytes to leave free on the disk")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before talking to upstream")
	asWorker := flag.Bool("worker", false, "do one fetch as told on standard input (syncd starts itself so)")
	flag.Parse()
	if *asWorker {
		work()
		return
	}
	daemon.Main("syncd", f.serve)
}

// work is the process that talks to upstream for one run.
func work() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := worker.Main(ctx, os.Stdin, os.Stdout, worker.Confine(log), log); err != nil {
		log.Error("worker failed", "err", err)
		os.Exit(1)
	}
}

type flags struct {
	mirror, stage, state, run, node string
	grace                           time.Duration
	reserve                         int64
	confine                         bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	config, err := node.Load(ctx, f.node, log)
	if err != nil {
		return err
	}
	if err := f.enter(log); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s := service.New(service.Config{
		Worker: []string{self, "-worker"},
		Node:   config, Mirror: f.mirror, Stage: f.stage, State: f.state, Run: f.run,
		Grace: f.grace, Reserve: f.reserve, Log: log,
	})
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			s.TriggerAll()
		}
	}()
	daemon.Notice(log, "ready", "projects", len(config.Node.Projects))
	return s.Run(ctx)
}

// enter makes the directories and the sandbox.
func (f *flags) enter(log *slog.Logger) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	uid := layout.SyncD
	if !f.confine {
		uid = os.Getuid()
	}
	for dir, perm := range map[string]os.FileMode{f.mirror: 0o755, f.stage: 0o700, f.state: 0o755, f.run: 0o755} {
		if err := sandbox.Own(dir, uid, uid, perm); err != nil {
			return fmt.Errorf("prepare directories: %w", err)
		}
	}
	if !f.confine {
		return nil
	}
	return sandbox.Enter(sandbox.Policy{
		UID: uid, GID: uid, ConnectAny: true,
		Read: []string{f.node}, Write: []string{f.mirror, f.stage, f.state, f.run},
		Exec: []string{self},
	}, log)
}
