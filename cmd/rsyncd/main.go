// Command rsyncd offers the node's mirrors to rsync clients; package
// rsync/daemon says what it promises.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/module"
	"micromirror/packages/node"
	rsync "micromirror/packages/rsync/daemon"
	"micromirror/packages/sandbox"
)

func main() {
	var f flags
	flag.StringVar(&f.listen, "listen", ":873", "TCP address to serve on")
	flag.StringVar(&f.root, "root", layout.MirrorDir, "web root, which the modules lie in")
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.state, "state", layout.StateDir+"/syncd", "directory of the projects' state")
	flag.IntVar(&f.conns, "connections", 200, "connections at a time")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before serving")
	flag.Parse()
	daemon.Main("rsyncd", f.serve)
}

type flags struct {
	listen, root, node, state string
	conns                     int
	confine                   bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	// Granting a directory needs it to be there, whoever starts first.
	for _, dir := range []string{f.root, filepath.Join(f.root, edition.Folder), f.state} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	config := node.Load(ctx, f.node, log)
	if f.confine {
		policy := sandbox.Policy{UID: layout.RsyncD, GID: layout.RsyncD, Read: []string{f.root, f.state}}
		if err := sandbox.Enter(policy, log); err != nil {
			return err
		}
	}
	server, err := rsync.New(rsync.Config{
		Modules: module.List(config, f.root, f.state), MOTD: motd(config), MaxConns: f.conns, Refuse: []string{"checksum"},
		Grace: 10 * time.Second, Log: log,
	})
	if err != nil {
		return err
	}
	go warm(ctx, server)
	daemon.Notice(log, "serving on "+l.Addr().String())
	return server.Serve(ctx, l)
}

// motd greets with the node's name and who hosts it.
func motd(config *node.Config) string {
	s := config.Node.Sponsor
	return strings.TrimSpace(fmt.Sprintf("%s\n%s %s", config.Hostname(), s.Name, s.URL))
}
