package main

import (
	"context"
	"os"
	"runtime/debug"

	rsync "micromirror/packages/rsync/daemon"
)

// warm reads the lists and allows the memory that they take, twice: while one
// is read anew, the old one serves.
func warm(ctx context.Context, server *rsync.Server) {
	debug.SetGCPercent(50) // there is little garbage beside the lists
	server.Warm(ctx)
	debug.FreeOSMemory() // reading them took more than they do
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(debug.SetMemoryLimit(-1) + 2*server.Memory())
	}
}
