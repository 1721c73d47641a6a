package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/manage"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

// prepare does what only root may: it makes the folder, reads the node's key and
// takes the port. Without keys in the fleet file there is no listener.
func (f *flags) prepare(ctx context.Context, config *node.Config, log *slog.Logger) (*manage.Server, net.Listener, error) {
	if err := sandbox.Own(f.run, layout.ManageD, layout.ManageD, 0o755); err != nil {
		return nil, nil, err
	}
	m := config.Fleet.Manage
	if !m.On() {
		log.Info("the fleet file names no maintainers: no management channel")
		return nil, nil, nil
	}
	s := &manage.Server{Commands: manage.Node().Commands(), Now: time.Now, Audit: audit(log)}
	var err error
	if s.Keys, err = manage.PublicKeys(m.Keys); err != nil {
		return nil, nil, err
	}
	for _, text := range config.Fleet.Firewall.Allow {
		if p, err := netip.ParsePrefix(text); err == nil {
			s.From = append(s.From, p.Masked())
		}
	}
	key, err := os.ReadFile(filepath.Join(f.node, node.KeyFile))
	if err != nil {
		return nil, nil, fmt.Errorf("the node has no key of its own, write its disk again: %w", err)
	}
	if s.Host, err = manage.HostKey(string(key)); err != nil {
		return nil, nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(m.Port)))
	return s, l, err
}

// audit writes every event to the log, which logd keeps and sends on; what changes
// the node also to the console.
func audit(log *slog.Logger) func(manage.Event) {
	return func(e manage.Event) {
		if e.Command == "" {
			log.Info("maintainer", "from", e.Address, "key", e.Key, "result", e.Result)
			return
		}
		daemon.Notice(log, "maintainer", "from", e.Address, "key", e.Key, "command", e.Command, "result", e.Result)
	}
}

// enter gives up all privileges. Sockets of other daemons are reached by the
// group's right to them.
func (f *flags) enter(log *slog.Logger) error {
	if !f.confine {
		return nil
	}
	state := []string{layout.StateDir + "/syncd", layout.StateDir + "/updated", layout.StateDir + "/logd"}
	for _, dir := range state { // granting one needs it to be there, whoever starts first
		if err := os.MkdirAll(dir, 0o755); err != nil {
			log.Error("directory", "err", err)
		}
	}
	return sandbox.Enter(sandbox.Policy{
		UID: layout.ManageD, GID: layout.ManageD,
		Read:  append(state, layout.RunDir, f.node, filepath.Dir(layout.VersionFile), "/proc"),
		Write: []string{f.run},
	}, log)
}
