// Command managed lets maintainers run fixed commands on the node over SSH;
// package manage says what it promises.
package main

import (
	"context"
	"flag"
	"log/slog"

	"golang.org/x/crypto/ssh"

	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/node"
)

func main() {
	var f flags
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.run, "run", layout.ManageDir, "directory of volatile files")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before answering")
	flag.Parse()
	daemon.Main("managed", f.serve)
}

type flags struct {
	node, run string
	confine   bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	server, l, err := f.prepare(ctx, node.Load(ctx, f.node, log), log)
	if err != nil {
		// Starting again would not help; a new configuration restarts all daemons.
		log.Error("no management channel", "err", err)
	}
	if err := f.enter(log); err != nil {
		return err
	}
	if l == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	daemon.Notice(log, "answering maintainers on "+l.Addr().String(), "host_key", ssh.FingerprintSHA256(server.Host.PublicKey()))
	return server.Serve(ctx, l)
}
