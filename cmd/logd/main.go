// Command logd keeps the node's log and sends it to the fleet's collector; package
// logbook says what it promises.
package main

import (
	"context"
	"flag"
	"log/slog"

	"micromirror/packages/daemon"
	"micromirror/packages/httpd/accesslog"
	"micromirror/packages/layout"
	"micromirror/packages/logbook"
	"micromirror/packages/node"
)

func main() {
	var f flags
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.state, "state", layout.StateDir+"/logd", "directory of the ring")
	flag.StringVar(&f.run, "run", layout.RunDir+"/logd", "directory of volatile files")
	flag.StringVar(&f.access, "access", layout.StateDir+"/httpd", "directory of the access log")
	flag.StringVar(&f.kernel, "kernel", "/dev/kmsg", "the kernel's log")
	flag.StringVar(&f.crashes, "crashes", "/sys/fs/pstore", "where the kernel saves crash records")
	flag.StringVar(&f.listen, "listen", layout.LogAddress, "UDP address that init sends the services' lines to")
	flag.StringVar(&f.target, "target", layout.LogTarget, "file that tells init so; empty leaves it alone")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before collecting")
	flag.Parse()
	daemon.Main("logd", f.serve)
}

type flags struct {
	node, state, run, access, kernel, crashes, listen, target string
	confine                                                   bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	c, err := f.prepare(log)
	if err != nil {
		return err
	}
	config := node.Load(ctx, f.node, log)
	c.Host = config.Hostname()
	c.Access = logbook.Access{Dir: f.access, Name: accesslog.Name, Files: accesslog.Files}
	if c.Sink, err = collector(config.Fleet.Telemetry); err != nil {
		log.Error("logs stay on the node", "err", err)
	}
	if f.confine {
		if err := f.enter(c.Sink, log); err != nil {
			return err
		}
	}
	return logbook.Run(ctx, *c)
}
