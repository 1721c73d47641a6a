package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/clock"
	"micromirror/packages/daemon"
	"micromirror/packages/fetch"
	"micromirror/packages/layout"
	"micromirror/packages/node"
	"micromirror/packages/slot"
	"micromirror/packages/slot/copies"
	"micromirror/packages/supervise"
	"micromirror/packages/update"
)

// downloadRate bounds what a release takes from the mirror's own traffic, in
// bytes a second.
const downloadRate = 4 << 20

// updater puts together what brings releases and configuration.
func (f *flags) updater(n *box) *update.Updater {
	n.readConfig()
	built := clock.Built(layout.VersionFile)
	fault, timing := update.Faults(n.cmdline, f.state, update.Defaults(), n.log)
	downloads := fetch.New(fetch.Config{Limit: rate.NewLimiter(downloadRate, downloadRate), UserAgent: "MicroMirror/" + n.version()})
	u := &update.Updater{
		Self:  update.Self{Name: n.config.Node.Name, Hardware: n.config.Node.Hardware, Version: n.version(), Built: built, Slot: n.running, Boot: bootID()},
		State: f.state, Status: layout.RunDir + "/updated/update.json",
		Fetch: downloads.File, Clock: update.Clock(layout.RunDir + "/ntpd/clock.json"),
		ESP: n.esp, Disk: n.disk.GUID,
		Root:  func(s slot.Name) (string, error) { return n.disk.Partition(s.Partition()) },
		Drain: drain, Reboot: f.reboot(n.log), Changed: n.outdated,
		Fault: fault, Timing: timing, Log: n.log,
		Config: &update.Configuration{
			Dir: layout.NodeDir, Restart: services().Restart, Watch: []string{"link", "address", "gateway"},
			Settle: 15 * time.Second, Stable: time.Minute, Trial: 5 * time.Minute,
			Works: func() error { return connected(networkState) },
		},
	}
	var err error
	if u.Window, err = update.ParseWindow(n.config.Fleet.Update.Window); err != nil {
		n.log.Error("update at any time", "err", err)
	}
	root, err := os.ReadFile(filepath.Join(layout.NodeDir, node.RootFile))
	switch {
	case err != nil:
		u.Off = "the node has no " + node.RootFile
	case len(n.config.Fleet.Update.URLs) == 0:
		u.Off = "fleet.json has no update.urls"
	}
	u.Channel = &update.Channel{Bases: n.config.Fleet.Update.URLs, Root: root, Dir: filepath.Join(f.state, "tuf"), Get: downloads.Get, Limit: 2 * time.Minute}
	return u
}

// drain lets the file server send what it is sending.
func drain(ctx context.Context) error { return services().Drain(ctx, "httpd") }

// outdated says that the second copy of the identity lacks something.
func (n *box) outdated() {
	select {
	case n.due <- struct{}{}:
	default:
	}
}

func (n *box) copies(state string) *copies.Keeper { return &copies.Keeper{ESP: n.esp, Dir: state} }

// checkCopies restores what the node boots from.
func (n *box) checkCopies(state string) {
	var restored []string
	err := supervise.Bounded(diskLimit, func() (err error) {
		found, err := n.copies(state).Check(n.running, n.cmdline)
		restored = found
		return err
	})
	if err != nil {
		n.log.Error("boot files", "err", err)
	}
	if errors.Is(err, supervise.ErrHung) || len(restored) == 0 {
		return
	}
	daemon.Notice(n.log, "boot files restored: "+strings.Join(restored, ", "))
	n.readBoot()
}

// version is the release that runs, as its image says.
func (n *box) version() string {
	var v struct{ Version string }
	b, err := os.ReadFile(layout.VersionFile)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil || v.Version == "" {
		return n.release
	}
	return v.Version
}

// bootID is a name for this boot that no other has.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return time.Now().String()
	}
	return strings.TrimSpace(string(b))
}
