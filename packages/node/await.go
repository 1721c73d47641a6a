package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// awaitLimit is much longer than updated takes to restore the files.
const awaitLimit = time.Minute

// Load is how a daemon gets its configuration when it starts: it waits for the
// files if need be and notes in the daemon's own log what is wrong with them.
// Telling people about it on the console is left to updated.
//
// A node without any configuration still runs, with DHCP and without projects,
// because no reboot would cure it. When the files appear after all, the daemon
// is told to end, so that init starts it again with them.
func Load(ctx context.Context, dir string, log *slog.Logger) *Config {
	Await(ctx, dir, awaitLimit)
	config, problems, err := ReadNode(dir)
	if err != nil {
		log.Error("running without configuration", "err", err)
		config.Node.DHCP = true
		go func() {
			Await(ctx, dir, forever)
			if ctx.Err() == nil {
				syscall.Kill(os.Getpid(), syscall.SIGTERM)
			}
		}()
		return config
	}
	for _, p := range problems {
		log.Info("node configuration", "problem", p.String())
	}
	return config
}

const forever = 100 * 365 * 24 * time.Hour

// Await returns when dir holds a node file, after limit at the latest: on the
// first boot, and after /perm had to be made anew, the daemons start before
// updated has restored the files from their second copy. What is there or not
// afterwards is for ReadNode to say.
func Await(ctx context.Context, dir string, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := os.Open(filepath.Join(dir, NodeFile))
		if err == nil {
			f.Close()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
