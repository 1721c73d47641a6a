// Command httpd serves the mirror tree over HTTP; package httpd says what it
// promises.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/httpd"
	"micromirror/packages/httpd/limit"
	"micromirror/packages/layout"
	"micromirror/packages/mirror/edition"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

func main() {
	var f flags
	flag.StringVar(&f.listen, "listen", ":80", "TCP address to serve on")
	flag.StringVar(&f.https, "https", ":443", "TCP address to serve on by TLS; empty for none")
	flag.StringVar(&f.acme, "acme", layout.AcmeDir, "directory of the certificate")
	flag.BoolVar(&f.kernelTLS, "kernel-tls", true, "let the kernel seal what is sent, if it can")
	flag.StringVar(&f.root, "root", layout.MirrorDir, "directory to serve")
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.state, "state", layout.StateDir+"/syncd", "directory of the projects' state")
	flag.StringVar(&f.run, "run", layout.RunDir, "directory of volatile files")
	flag.StringVar(&f.logs, "logs", layout.StateDir+"/httpd", "directory of the access log")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before serving")
	flag.Parse()
	daemon.Main("httpd", f.serve)
}

type flags struct {
	listen, https, acme, root, node, state, run, logs string
	confine, kernelTLS                                bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	port := f.bindHTTPS(ctx, log)
	if err := httpd.PrepareProcess(); err != nil {
		log.Warn("few descriptors", "err", err)
	}
	if err := f.prepareLogs(log); err != nil {
		return err
	}
	// Granting a directory needs it to be there, whoever starts first.
	for _, dir := range []string{f.root, filepath.Join(f.root, edition.Folder), f.state} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			log.Error("directory", "err", err)
		}
	}
	config := node.Load(ctx, f.node, log)
	if f.confine {
		policy := sandbox.Policy{UID: layout.HTTPD, GID: layout.HTTPD, Read: []string{f.root, f.state, f.run, f.node, f.acme}, Write: []string{f.logs}}
		if err := sandbox.Enter(policy, log); err != nil {
			return err
		}
	}
	dirs := httpd.Dirs{Root: f.root, State: f.state, Run: f.run, Logs: f.logs}
	site, journal, err := httpd.NewSite(ctx, config, dirs, log)
	if err != nil {
		return err
	}
	daemon.Notice(log, "serving on "+l.Addr().String())
	return httpd.Serve(ctx, l.(*net.TCPListener), httpd.Config{
		Site: site, Journal: journal, Limits: limit.NewTable(limit.Of(&config.Fleet)), Grace: 30 * time.Second, Log: log, HTTPS: f.withHTTPS(ctx, port, log),
	})
}
