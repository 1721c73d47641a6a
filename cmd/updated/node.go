package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"filippo.io/age"

	"micromirror/packages/certificate"
	"micromirror/packages/daemon"
	"micromirror/packages/disk"
	"micromirror/packages/health"
	"micromirror/packages/identity"
	"micromirror/packages/kmod"
	"micromirror/packages/layout"
	"micromirror/packages/node"
	"micromirror/packages/perm"
	"micromirror/packages/sandbox"
	"micromirror/packages/slot"
	"micromirror/packages/supervise"
	"micromirror/packages/update"
	"micromirror/packages/watcher"
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
	config  *node.Config
	blessed atomic.Bool   // what the slot boots from is good
	due     chan struct{} // the second copy of the identity is out of date
}

// findNode learns from the kernel command line what runs, and mounts the ESP. A
// boot entry that cannot be read is no reason to stop: the health is still
// watched.
func findNode(log *slog.Logger) (*box, error) {
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	n := &box{log: log, cmdline: string(cmdline), due: make(chan struct{}, 1)}
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
	var boot supervise.Boot
	var armed bool
	unread := n.boot.Unread
	// The gate must not wait for a disk that hangs: it is what reboots then.
	err := supervise.Bounded(diskLimit, func() (err error) {
		if unread {
			if err := n.esp.Mount(); err != nil {
				return err
			}
		}
		boot, armed, err = n.esp.Rearm(n.running)
		return err
	})
	if err != nil {
		return supervise.Boot{}, false, err
	}
	if unread {
		n.boot = boot
	}
	n.tellMemory()
	n.blessed.Store(true)
	n.outdated()
	return boot, armed, nil
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
		{Dir: layout.NodeDir, Mode: 0o644, Only: []string{node.NodeFile}, Last: true},
		{Dir: layout.NodeDir, Mode: 0o644, Only: []string{node.FleetFile, node.RootFile}},
		{Dir: layout.NodeDir, Mode: 0o600, Only: []string{node.SecretFile}},
		{Dir: layout.NodeDir, Mode: 0o600, Only: []string{node.KeyFile}, Valid: isKey},
		// Not order.json: one that is over must not come back.
		{Prefix: "acme/", Dir: layout.AcmeDir, UID: layout.AcmeD, Mode: 0o600, Valid: supervise.WholePEM, Only: []string{"account.key", certificate.File, "attempts.json"}},
		{Prefix: "update/", Dir: layout.StateDir + "/updated", Mode: 0o644, Only: []string{"supervise.json", "update.json", "boot.json"}},
	}
}

// isKey reports whether a file is the node's key, whole.
func isKey(content []byte) bool {
	_, err := age.ParseX25519Identity(string(bytes.TrimSpace(content)))
	return err == nil
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

// waiting is how long daemons surely wait for a node file that is not there: half of
// what package node says.
const waiting = 30 * time.Second

// await reports whether the other daemons, this long after the start, still wait
// for a node file of which reading says that it is missing. Those that have given
// up cannot see it any more once they are confined.
func await(missing error, up time.Duration) bool { return missing != nil && up < waiting }

// restore brings the identity back to a /perm that was made anew. Daemons wait
// for a node file that is not there; those that started with a damaged one, or
// after a while without any, start again.
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
	if await(missing, started()) {
		return
	}
	if err := services().Restart(); err != nil {
		n.log.Error("daemons still run without it", "err", err)
	}
}

// services are the other daemons.
func services() supervise.Services {
	return supervise.Services{Proc: "/proc", Dir: "/user", Self: os.Getpid(), Kill: func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }}
}

// readConfig reads what the node is told.
func (n *box) readConfig() {
	config, problems, err := node.ReadNode(layout.NodeDir)
	n.config = config
	if err != nil {
		n.log.Error("node configuration: no project is watched", "err", err)
	}
	for _, p := range problems {
		n.log.Warn("node configuration", "problem", p.String())
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
		Due:  n.due,
		Refresh: func() (written bool, err error) {
			if n.blessed.Load() {
				if err := n.copies(state).Learn(n.running); err != nil {
					n.log.Error("copies of the boot files", "err", err)
				}
			}
			if _, err := os.Stat(filepath.Join(state, "config.json")); err == nil {
				return false, nil // a configuration on trial is none to keep
			}
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
func (f *flags) gate(n *box, u *update.Updater) (*supervise.Gate, error) {
	memory, err := supervise.Remember(f.state)
	if err != nil {
		n.log.Info("starting without memory", "err", err)
	}
	memory.On(n.disk.GUID.String())
	// A release that cannot read the boot entries must not stay for that.
	n.boot.Trial = n.boot.Trial || n.boot.Unread && u.Trying()
	all := append(health.Checks(health.Node(f.state, n.config)), health.Check{Name: "updater", Gate: true, Run: u.Stuck})
	all, timing := supervise.Faults(n.cmdline, n.log, all, supervise.Defaults())
	set, err := health.New(all, n.version(), string(n.running), time.Now,
		func(name string) bool { return n.boot.Trial && memory.Counts(n.boot.Generation, name) })
	if err != nil {
		return nil, fmt.Errorf("health checks: %w", err)
	}
	return &supervise.Gate{
		Boot: n.boot, Timing: timing, Look: set.Run, Report: layout.HealthFile,
		Up: started(), Mark: layout.RunDir + "/updated.armed",
		Rearm: n.rearm, Reboot: f.reboot(n.log), Memory: memory, Log: n.log,
		Told: u.Told, Blessed: u.Blessed, GiveUp: u.GiveUp,
	}, nil
}

// started returns the time since userland came up, as far as this program knows.
func started() time.Duration {
	return supervise.Started(layout.RunDir+"/updated.started", supervise.Uptime())
}

func (f *flags) reboot(log *slog.Logger) func(context.Context) error {
	r := &supervise.Rebooter{Socket: f.socket, Limit: time.Minute, Force: watcher.Reset, Log: log}
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

// diskLimit is how long the disk may take to answer at the start: a busy hard disk
// writes its journal first, and a busy computer hashes slowly. A node that gave its
// disk up stays so until it has rebooted.
const diskLimit = 3 * time.Minute

// prepare makes the state directory. A /perm that answers with errors is a
// matter for the health checks.
func (f *flags) prepare(log *slog.Logger) error {
	if err := sandbox.Own(f.state, 0, 0, 0o755); err != nil {
		log.Error("state", "err", err)
	}
	if err := perm.Harden(layout.Perm); err != nil {
		log.Error("mount options", "err", err)
	}
	return nil
}
