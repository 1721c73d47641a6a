package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/disk"
	"micromirror/packages/health"
	"micromirror/packages/identity"
	"micromirror/packages/kmod"
	"micromirror/packages/layout"
	"micromirror/packages/node"
	"micromirror/packages/perm"
	"micromirror/packages/slot"
	"micromirror/packages/supervise"
)

// box is the running node: its slot and its disk.
type box struct {
	log     *slog.Logger
	cmdline string
	running slot.Name
	disk    *disk.Running
	esp     *supervise.ESP
	boot    supervise.Boot
	release string
}

// findNode learns from the kernel command line what runs, and mounts the ESP. A
// boot entry that cannot be read is no reason to stop: the health is still
// watched.
func findNode(log *slog.Logger) (*box, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	n := &box{log: log, cmdline: string(cmdline)}
	if n.running, err = slot.Running(n.cmdline); err != nil {
		return nil, err
	}
	guid, _, err := disk.ParseRoot(n.cmdline)
	if err != nil {
		return nil, err
	}
	if n.disk, err = disk.Find("/sys", "/dev", guid); err != nil {
		return nil, err
	}
	device, err := n.disk.Partition(disk.ESP)
	if err != nil {
		return nil, err
	}
	// The kernel asks for the file system's code pages by itself.
	if err := kmod.InstallModprobe("/user/modprobe"); err != nil {
		log.Warn("kernel cannot load modules on demand", "err", err)
	}
	n.esp = &supervise.ESP{Device: device, Dir: layout.ESP, Type: "vfat"}
	n.readBoot()
	return n, nil
}

func (n *box) readBoot() {
	err := n.esp.Mount()
	if err == nil {
		n.boot, n.release, err = n.esp.Boot(n.running)
	}
	if err != nil {
		n.log.Error("boot entries", "err", err)
	}
	n.boot.Slot = string(n.running)
	n.boot.Unread = n.boot.Generation == 0
}

// rearm makes the tries full; if the ESP was not to be had before, it is tried
// again now.
func (n *box) rearm() (supervise.Boot, bool, error) {
	if n.boot.Unread {
		if err := n.esp.Mount(); err != nil {
			return n.boot, false, err
		}
	}
	boot, armed, err := n.esp.Rearm(n.running)
	if err == nil {
		n.tellMemory()
	}
	return boot, armed, err
}

// tellMemory says what a node that does nothing takes: by now all daemons run.
func (n *box) tellMemory() {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		n.log.Warn("memory", "err", err)
		return
	}
	defer f.Close()
	use, err := supervise.MemoryUse(f)
	if err != nil {
		n.log.Warn("memory", "err", err)
		return
	}
	daemon.Notice(n.log, use)
}

// kept is what has a second copy.
func kept() []supervise.Kept {
	return []supervise.Kept{
		{Dir: layout.NodeDir, Mode: 0o644, Only: []string{"node.json", "fleet.json"}},
		{Prefix: "acme/", Dir: layout.AcmeDir, UID: layout.AcmeD, Mode: 0o600},
		{Prefix: "update/", Dir: layout.StateDir + "/updated", Mode: 0o644, Only: []string{"supervise.json"}},
	}
}

func (n *box) identity(flags int, f func(*os.File) error) error {
	path, err := n.disk.Partition(disk.Identity)
	if err != nil {
		return err
	}
	dev, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	return f(dev)
}

// restore brings the identity back to a /perm that was made anew. Daemons wait
// for a node file that is not there; those that started with a damaged one start
// again.
func (n *box) restore() {
	_, missing := os.Stat(filepath.Join(layout.NodeDir, node.NodeFile))
	var restored []string
	err := n.identity(os.O_RDONLY, func(dev *os.File) error {
		set, err := identity.Read(dev)
		if err == nil {
			restored, err = supervise.Restore(set, kept())
		}
		return err
	})
	if err != nil {
		n.log.Warn("second copy of the identity", "err", err)
	}
	if len(restored) == 0 {
		return
	}
	daemon.Notice(n.log, "identity restored: "+strings.Join(restored, ", "))
	if missing != nil {
		return
	}
	s := supervise.Services{Proc: "/proc", Dir: "/user", Self: os.Getpid(), Kill: func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }}
	if err := s.Restart(); err != nil {
		n.log.Error("daemons still run without it", "err", err)
	}
}

func (n *box) upkeep(state string) *supervise.Upkeep {
	return &supervise.Upkeep{
		Grow: func() (bool, error) {
			device, err := n.disk.Partition(disk.Perm)
			if err != nil {
				return false, err
			}
			return perm.Grow(layout.Perm, device)
		},
		Trim: func() (uint64, error) { return perm.Trim(layout.Perm) },
		Refresh: func() (written bool, err error) {
			err = n.identity(os.O_RDWR, func(dev *os.File) (err error) {
				written, err = supervise.Refresh(dev, kept())
				return err
			})
			return written, err
		},
		Stamp: filepath.Join(state, "trimmed"),
		Log:   n.log,
	}
}

// gate puts the health checks and what follows from them together.
func (f *flags) gate(n *box) (*supervise.Gate, error) {
	memory, err := supervise.Remember(f.state)
	if err != nil {
		n.log.Info("starting without memory", "err", err)
	}
	checks, timing := supervise.Faults(n.cmdline, n.log, checks(n.log, f.state), supervise.Defaults())
	set, err := health.New(checks, n.release, string(n.running), time.Now,
		func(name string) bool { return n.boot.Trial && memory.Counts(n.boot.Generation, name) })
	if err != nil {
		return nil, fmt.Errorf("health checks: %w", err)
	}
	return &supervise.Gate{
		Boot: n.boot, Timing: timing, Look: set.Run, Report: layout.HealthFile,
		Up: started(), Mark: layout.RunDir + "/updated.armed",
		Rearm: n.rearm, Reboot: f.reboot(n.log), Memory: memory, Log: n.log,
	}, nil
}

// started returns the time since userland came up, as far as this program knows.
func started() time.Duration {
	return supervise.Started(layout.RunDir+"/updated.started", supervise.Uptime())
}

func (f *flags) reboot(log *slog.Logger) func(context.Context) error {
	r := &supervise.Rebooter{Socket: f.socket, Limit: time.Minute, Force: supervise.ForceReboot, Log: log}
	return r.Reboot
}

// lost watches over a node whose own disk cannot be found: a release that does
// that to a node must not stay.
func (f *flags) lost(ctx context.Context, log *slog.Logger, why error) error {
	memory, err := supervise.Remember(f.state)
	if err != nil {
		log.Info("starting without memory", "err", err)
	}
	report := health.Report{Checks: []health.Outcome{{Name: "boot", Status: health.Fail, Reason: why.Error()}}}
	gate := &supervise.Gate{
		Boot: supervise.Boot{Slot: "unknown", Unread: true}, Timing: supervise.Defaults(), Report: layout.HealthFile,
		Look:   func(context.Context) health.Report { report.Time = time.Now(); return report },
		Reboot: f.reboot(log), Memory: memory, Log: log,
	}
	return gate.Run(ctx)
}

// freshness is how old a project's last synchronisation may be: it is tried
// daily, and most projects drop a mirror that is two days behind.
const freshness = 48 * time.Hour

func checks(log *slog.Logger, state string) []health.Check {
	network, known := layout.RunDir+"/netd/state.json", health.NewKnown(layout.MirrorDir)
	list := []health.Check{
		{Name: "disk", Gate: true, Run: health.Writable(state)},
		{Name: "space", Run: health.Space(layout.Perm, 2)},
		{Name: "ext4", Run: health.Ext4Errors("/sys")},
		{Name: "http-ipv4", Gate: true, Run: known.Served("http://127.0.0.1")},
		{Name: "http-ipv6", Gate: true, Run: known.Served("http://[::1]")},
		{Name: "link", Gate: true, External: true, Run: health.Link(network)},
		{Name: "address", Needs: []string{"link"}, Gate: true, External: true, Run: health.Address(network)},
		{Name: "gateway", Needs: []string{"address"}, Gate: true, External: true, Run: health.Gateway(network)},
		{Name: "clock", Needs: []string{"gateway"}, External: true, Run: health.Clock(layout.RunDir + "/ntpd/clock.json")},
	}
	config, problems, err := node.ReadNode(layout.NodeDir)
	if err != nil {
		log.Error("node configuration: no project is watched", "err", err)
		return list
	}
	for _, p := range problems {
		log.Warn("node configuration", "problem", p.String())
	}
	for _, p := range config.Projects() {
		file := filepath.Join(layout.StateDir, "syncd", p.Name+".json")
		list = append(list, health.Check{Name: "project " + p.Name, External: true, Run: health.Project(file, freshness, time.Now)})
	}
	return list
}
