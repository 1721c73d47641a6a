// Command netd brings the node onto its network; package netd says what it
// promises.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"

	"micromirror/packages/daemon"
	"micromirror/packages/hardware"
	"micromirror/packages/layout"
	"micromirror/packages/netd"
	"micromirror/packages/node"
)

func main() {
	var f flags
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.run, "run", layout.RunDir+"/netd", "directory of the state and the name servers")
	flag.StringVar(&f.state, "state", layout.StateDir+"/netd", "directory of the last configuration that worked")
	flag.StringVar(&f.models, "hardware", layout.HardwareDir, "directory of the hardware models")
	flag.StringVar(&f.resolv, "resolv", "/tmp/resolv.conf", "link to make to the name servers; empty for none")
	flag.StringVar(&f.modprobe, "modprobe", "/user/modprobe", "program that the kernel asks for modules; empty for none")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges once the links are set up")
	flag.Parse()
	daemon.Main("netd", f.serve)
}

type flags struct {
	node, run, state, models, resolv, modprobe string
	confine                                    bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	config := node.Load(ctx, f.node, log)
	if err := unix.Sethostname([]byte(config.Hostname())); err != nil {
		log.Error("set host name", "err", err)
	}
	f.loadDrivers(log)
	if err := f.linkResolver(); err != nil {
		log.Error("name servers will not be found", "err", err)
	}
	models, err := hardware.Load(os.DirFS(f.models))
	if err != nil {
		log.Warn("no hardware models: any port may be the uplink", "err", err)
	}
	return netd.Run(ctx, netd.FromNode(config, models), f.env(config, log))
}
