// Command netd brings the node onto its network; package netd says what it
// promises.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/daemon"
	"micromirror/packages/hardware"
	"micromirror/packages/kmod"
	"micromirror/packages/layout"
	"micromirror/packages/netd"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
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
	config, err := node.Load(ctx, f.node, log)
	if err != nil {
		return err
	}
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
	env := netd.Env{Proc: "/proc/sys", Sys: "/sys", Run: f.run, Working: f.state + "/working.json", Log: log, Ready: func() error { return f.enter(log) }}
	return netd.Run(ctx, netd.FromNode(config, models), env)
}

// loadDrivers loads what the initramfs has left out: the drivers of the cards
// present, and what netd itself is about to use. The kernel would ask for the
// latter by itself, but each time by a process that reads the index anew.
func (f *flags) loadDrivers(log *slog.Logger) {
	if f.modprobe != "" {
		if err := kmod.InstallModprobe(f.modprobe); err != nil {
			log.Warn("kernel cannot load modules on demand", "err", err)
		}
	}
	loader, err := kmod.New(kmod.Config{})
	if err != nil {
		log.Warn("network drivers", "err", err)
		return
	}
	if err := loader.Coldplug(netd.Driver); err != nil {
		log.Warn("network drivers", "err", err)
	}
	for _, module := range netd.Modules() {
		if err := loader.Load(module); err != nil {
			log.Warn("network module", "err", err)
		}
	}
}

// linkResolver makes the image's /etc/resolv.conf, which leads to a file in
// /tmp, lead on to ours.
func (f *flags) linkResolver() error {
	if f.resolv == "" {
		return nil
	}
	tmp := f.resolv + ".new"
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(f.run+"/resolv.conf", tmp); err != nil {
		return fmt.Errorf("link %s: %w", f.resolv, err)
	}
	return os.Rename(tmp, f.resolv)
}

func (f *flags) enter(log *slog.Logger) error {
	if err := sandbox.Own(f.state, 0, 0, 0o755); err != nil {
		log.Error("state", "err", err)
	}
	if !f.confine {
		return nil
	}
	return sandbox.Enter(sandbox.Policy{
		KeepCaps: []cap.Value{cap.NET_ADMIN, cap.NET_RAW},
		Read:     []string{"/sys", "/proc", f.node},
		Write:    []string{f.run, f.state, "/proc/sys/net"},
	}, log)
}
