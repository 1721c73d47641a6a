package main

import (
	"fmt"
	"log/slog"
	"os"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/kmod"
	"micromirror/packages/netd"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

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

// env is the system. What a node does that has no orders yet is nothing to go back
// to, should those that it gets not work.
func (f *flags) env(config *node.Config, log *slog.Logger) netd.Env {
	env := netd.Env{Proc: "/proc/sys", Sys: "/sys", Run: f.run, Working: f.state + "/working.json", Log: log, Ready: func() error { return f.enter(log) }}
	if config.Node.Name == "" {
		env.Working = ""
	}
	return env
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
