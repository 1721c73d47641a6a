// Command ntpd keeps the system's time right; package clock says how.
package main

import (
	"context"
	"flag"
	"log/slog"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/clock"
	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

func main() {
	var f flags
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.state, "state", layout.StateDir+"/ntpd", "directory of the time last seen")
	flag.StringVar(&f.run, "run", layout.RunDir+"/ntpd", "directory of clock.json")
	flag.StringVar(&f.rtc, "rtc", "/dev/rtc0", "battery clock")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before asking the network")
	flag.Parse()
	daemon.Main("ntpd", f.serve)
}

type flags struct {
	node, state, run, rtc string
	confine               bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	config := node.Load(ctx, f.node, log)
	built := clock.Built(layout.VersionFile)
	machine, err := clock.Open(f.rtc)
	if err != nil {
		log.Warn("time will not survive without power", "err", err)
	}
	defer machine.Close()
	for _, dir := range []string{f.state, f.run} {
		if err := sandbox.Own(dir, layout.NTPD, layout.NTPD, 0o755); err != nil {
			return err
		}
	}
	if f.confine {
		const dns = 53
		err := sandbox.Enter(sandbox.Policy{
			UID: layout.NTPD, GID: layout.NTPD, KeepCaps: []cap.Value{cap.SYS_TIME},
			Write: []string{f.state, f.run}, Connect: []uint16{dns},
		}, log)
		if err != nil {
			return err
		}
	}
	return clock.Run(ctx, clock.Config{
		Servers: config.Fleet.NTP, Built: built, State: f.state, Run: f.run,
		System: machine, Source: clock.NTP{}, Log: log,
	})
}
