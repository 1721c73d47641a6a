package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/mirror"
	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/service"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

type flags struct {
	mirror, stage, state, run, node string
	grace                           time.Duration
	reserve                         int64
	confine                         bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	config := node.Load(ctx, f.node, log)
	cmdline, _ := os.ReadFile("/proc/cmdline")
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
		Grace: mirror.Grace(string(cmdline), f.grace), Reserve: f.reserve, Log: log, Cmdline: string(cmdline),
		Online: func(ctx context.Context) { service.Online(ctx, config.Fleet.Upstream, log) },
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
	for dir, perm := range map[string]os.FileMode{f.mirror: 0o755, filepath.Join(f.mirror, edition.Folder): 0o755, f.stage: 0o700, f.state: 0o755} {
		if err := sandbox.Own(dir, uid, uid, perm); err != nil {
			return fmt.Errorf("prepare directories: %w", err)
		}
	}
	gid := uid
	if f.confine {
		gid = layout.ManageD // which may use the trigger socket
	}
	if err := sandbox.Own(f.run, uid, gid, 0o755|fs.ModeSetgid); err != nil {
		return fmt.Errorf("prepare directories: %w", err)
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
