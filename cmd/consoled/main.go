// Command consoled shows people at the machine how it is; package consoled says
// what.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/consoled"
	"micromirror/packages/consoled/vt"
	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/node"
	"micromirror/packages/sandbox"
)

func main() {
	var f flags
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.StringVar(&f.models, "hardware", layout.HardwareDir, "directory of the hardware models")
	flag.StringVar(&f.state, "state", layout.StateDir+"/syncd", "directory of the projects' state")
	flag.StringVar(&f.run, "run", layout.RunDir, "directory of what the other daemons report")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before drawing")
	flag.Parse()
	daemon.Main("consoled", f.serve)
}

type flags struct {
	node, models, state, run string
	confine                  bool
}

func (f *flags) serve(ctx context.Context, log *slog.Logger) error {
	watch(ctx, filepath.Join(f.run, filepath.Base(layout.HealthFile)), log)
	c := consoled.Config{Log: log}
	if t, err := vt.Open("/dev", "/proc/sys"); err != nil {
		log.Warn("no screen", "err", err)
	} else {
		c.Terminal, c.Show = t, t.Show
		c.Rows, c.Columns = t.Size()
	}
	consoled.Greet(c)
	config := node.Load(ctx, f.node, log)
	sources := consoled.Sources{
		About: consoled.About(config, os.DirFS(f.models), os.DirFS(filepath.Dir(layout.VersionFile))), Projects: consoled.Names(config),
		Run: os.DirFS(f.run), SyncD: f.state, Now: time.Now, Up: consoled.Uptime,
	}
	// Granting a directory needs it to be there, whoever starts first.
	grants := []string{f.run, f.state}
	for _, dir := range grants {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			log.Warn("nothing of it will be shown", "err", err)
		}
	}
	if f.confine {
		policy := sandbox.Policy{
			UID: layout.ConsoleD, GID: layout.ConsoleD, KeepCaps: []cap.Value{cap.SYS_TTY_CONFIG, cap.SYS_BOOT}, Read: grants,
		}
		if err := sandbox.Enter(policy, log); err != nil {
			return err
		}
	}
	c.Gather = sources.Gather
	return consoled.Run(ctx, c)
}
