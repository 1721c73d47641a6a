// Command syncd keeps the mirror tree in step with upstream; package
// mirror/service says what it promises.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/mirror/worker"
)

func main() {
	var f flags
	flag.StringVar(&f.mirror, "mirror", layout.MirrorDir, "directory of the served tree")
	flag.StringVar(&f.stage, "stage", layout.StageDir, "directory for what is not yet published, on the same file system")
	flag.StringVar(&f.state, "state", layout.StateDir+"/syncd", "directory of the projects' state")
	flag.StringVar(&f.run, "run", layout.RunDir+"/syncd", "directory of progress files and the trigger socket")
	flag.StringVar(&f.node, "node", layout.NodeDir, "directory of node.json and fleet.json")
	flag.DurationVar(&f.grace, "grace", 24*time.Hour, "how long files stay that vanished upstream")
	flag.Int64Var(&f.reserve, "reserve", 256<<20, "bytes to leave free on the disk")
	flag.BoolVar(&f.confine, "sandbox", true, "drop privileges before talking to upstream")
	asWorker := flag.Bool("worker", false, "do one fetch as told on standard input (syncd starts itself so)")
	flag.Parse()
	if *asWorker {
		work()
		return
	}
	daemon.Main("syncd", f.serve)
}

// work is the process that talks to upstream for one run.
func work() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := worker.Main(ctx, os.Stdin, os.Stdout, worker.Confine(log), log); err != nil {
		log.Error("worker failed", "err", err)
		os.Exit(1)
	}
}
