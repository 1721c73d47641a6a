// Package logbook keeps what a node has to say about itself: the kernel's log,
// every line that a service writes, and what the kernel could save of a crash.
//
// Promise: all of it goes, in order of arrival and as RFC 5424 lines, into a ring
// of bounded size on /perm, which outlives the node's death and is what a
// maintainer reads from the disk of a box that came back. When the fleet names a
// collector, the ring and the web server's access log are sent to it over TLS.
// The logs themselves are the queue: a collector that is away for hours or days
// gets everything that is still there, from the line after the last that it
// confirmed, also over restarts of the node. Nobody who logs ever waits for the
// collector.
//
// A source that floods is cut to a rate and its losses are counted in the log. A
// crash record is taken out of the firmware's store only when the ring has it
// safely.
//
// Files: <dir>/node.log and older ones (8 MiB), <dir>/*.place (how far the
// collector is); on a node <dir> is /perm/state/logd. Reads /dev/kmsg, the crash
// records below /sys/fs/pstore and /perm/state/httpd/access.log*. The place in the
// kernel's log is kept in <run>/kernel, since it lasts as long as the kernel.
//
// Ports: UDP 514 on loopback, where init sends the services' output as
// /perm/remote_syslog/target tells it, which a new /perm holds from the start; out: TCP to the collector, 6514 by default.
//
// Failure: without a disk the ring is in memory, without a collector nothing is
// sent, without a source the others go on.
package logbook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"micromirror/packages/spool"
	"micromirror/packages/syslog"
)

// Config says where the node's words come from and where they go. Sources that are
// nil or empty are left out.
type Config struct {
	Host     string
	Dir      string            // of the ring
	Run      string            // of what lasts until the next boot
	Kernel   io.ReadCloser     // the kernel's log, one record a read
	Services net.PacketConn    // where init sends the services' lines
	Crashes  string            // directory of crash records
	Access   Access            // the web server's log
	Sink     *syslog.Collector // nil: nothing is sent
	Log      *slog.Logger
}

// Access is an access log that is sent, but not kept here.
type Access struct {
	Dir, Name string
	Files     int
}

// The ring takes at most 8 MiB of the disk.
const (
	ringName  = "node.log"
	ringFiles = 8
	ringSize  = 1 << 20
)

// syncInterval is what a power cut may cost of the ring.
const syncInterval = 10 * time.Second

// book is a running logbook.
type book struct {
	config Config
	ring   *spool.Log
}

// Run collects and sends until ctx ends.
func Run(ctx context.Context, c Config) error {
	ring := spool.Open(spool.Config{Dir: c.Dir, Name: ringName, FileSize: ringSize, Files: ringFiles, Log: c.Log})
	b := &book{c, ring}
	b.takeCrashes()
	var wg sync.WaitGroup
	if c.Kernel != nil {
		wg.Go(b.kernel)
	}
	if c.Services != nil {
		wg.Go(b.services)
	}
	if c.Sink != nil {
		wg.Go(func() { newShipper(&b.config).run(ctx) })
	}
	b.keep(ctx)
	b.close()
	wg.Wait()
	if err := ring.Close(); err != nil {
		return fmt.Errorf("logbook: %w", err)
	}
	return nil
}

// keep syncs the ring until ctx ends and once more then.
func (b *book) keep(ctx context.Context) {
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if err := b.ring.Sync(); err != nil {
			b.config.Log.Error("the log may not survive a power cut", "err", err)
		}
	}
}

// close ends the sources.
func (b *book) close() {
	if b.config.Kernel != nil {
		b.config.Kernel.Close()
	}
	if b.config.Services != nil {
		b.config.Services.Close()
	}
}

// write adds messages to the ring.
func (b *book) write(messages ...syslog.Message) {
	var lines []byte
	for i := range messages {
		messages[i].Host = b.config.Host
		lines = append(messages[i].Append(lines), '\n')
	}
	b.ring.Write(lines)
}

func (b *book) runFile(name string) string { return filepath.Join(b.config.Run, name) }
