// Command acmed gets and renews the node's certificate; package acme says how.
package main

import (
	"context"
	"flag"
	"log/slog"

	"micromirror/packages/acme"
	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

func main() {
	var f flags
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.dir, "dir", layout.AcmeDir, "directory of the account and the certificate")
	flag.StringVar(&f.run, "run", layout.RunDir+"/acmed", "directory of the status and the challenges")
	flag.StringVar(&f.clock, "clock", layout.RunDir+"/ntpd/clock.json", "file that says whether the time is right; empty if it is")
	flag.StringVar(&f.netd, "network", layout.RunDir+"/netd/state.json", "file that says whether the network is up; empty if it is")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before asking the authority")
	flag.Parse()
	daemon.Main("acmed", f.serve)
}

type flags struct {
	node, dir, run, clock, netd string
	confine                     bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	config := node.Load(ctx, f.node, log)
	group := -1
	if f.confine {
		group = layout.HTTPD
		if err := f.own(); err != nil {
			// What was there before can be told nevertheless.
			log.Error("directories", "err", err)
		}
	}
	ports, err := f.ports(config.Fleet.ACME.Directory)
	if err != nil {
		return err
	}
	if f.confine {
		err := sandbox.Enter(sandbox.Policy{
			UID: layout.AcmeD, GID: layout.HTTPD, // httpd may read the certificate
			Read: f.reports(), Write: []string{f.dir, f.run}, Connect: ports,
		}, log)
		if err != nil {
			return err
		}
	}
	m, err := acme.New(acme.Config{
		Dir: f.dir, Volatile: f.run, Directory: config.Fleet.ACME.Directory, Email: config.Fleet.ACME.Email,
		CA: []byte(config.Fleet.ACME.CA), Names: config.Names(), Group: group, Clock: f.time(config.Fleet.NTP), Network: f.network, Log: log,
	})
	if err != nil {
		return err
	}
	return m.Run(ctx)
}
