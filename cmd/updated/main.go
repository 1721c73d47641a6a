// Command updated looks after the running slot and brings the next one: it
// restores and keeps the node's identity and what it boots from, grows and trims
// /perm, watches the node's health, and by that makes the slot's tries full or
// reboots; it fetches, installs and tries releases and configuration. Packages
// supervise, health, update and slot/copies say what they promise.
package main

import (
	"context"
	"flag"
	"log/slog"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/sandbox"
	"micromirror/packages/supervise"
	"micromirror/packages/update"
	"micromirror/packages/watcher"
)

func main() {
	var f flags
	flag.StringVar(&f.state, "state", layout.StateDir+"/updated", "directory of what must survive a reboot")
	flag.StringVar(&f.socket, "socket", layout.RunDir+"/gokrazy-http.sock", "init's socket")
	flag.BoolVar(&f.confine, "sandbox", true, "drop what is not needed")
	flag.Parse()
	daemon.Main("updated", f.serve)
}

type flags struct {
	state, socket string
	confine       bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	started() // the trial begins, whatever the disk does
	if err := watcher.Spare(watcher.SpareFile); err != nil {
		log.Warn("memory", "err", err)
	}
	if err := supervise.Bounded(diskLimit, func() error { return f.prepare(log) }); err != nil {
		// Nothing that this program is for can be done without the disk, but the
		// reboot, and entering the sandbox would wait for the thread that hangs.
		return f.lost(ctx, log, err)
	}
	var n *box
	if err := supervise.Bounded(diskLimit, func() (err error) { n, err = findNode(log); return err }); err != nil {
		return f.lost(ctx, log, err)
	}
	if f.confine {
		err := sandbox.Enter(sandbox.Policy{Mounts: true, KeepCaps: []cap.Value{
			cap.SYS_ADMIN, cap.SYS_RESOURCE, cap.SYS_BOOT, // mount, grow, reboot
			cap.SYS_RAWIO,                                     // ask disks how they are
			cap.DAC_OVERRIDE, cap.CHOWN, cap.FOWNER, cap.KILL, // restore other daemons' files, restart them
		}}, log)
		if err != nil {
			return err
		}
	}
	var u *update.Updater
	err := supervise.Bounded(2*diskLimit, func() error {
		n.restore()
		n.checkCopies(f.state)
		u = f.updater(n)
		return nil
	})
	if err != nil {
		return f.lost(ctx, log, err)
	}
	u.Resume(ctx)
	gate, err := f.gate(n, u)
	if err != nil {
		return err
	}
	return f.work(ctx, n, gate, u)
}
