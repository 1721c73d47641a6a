package logbook

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"micromirror/packages/syslog"
)

// Bounds on what firmware may hold for us.
const (
	maxCrashes   = 256
	maxCrashSize = 64 << 10
)

// takeCrashes moves crash records into the ring. One that cannot be read or
// removed is reported and left for the next start.
func (b *book) takeCrashes() {
	if b.config.Crashes == "" {
		return
	}
	entries, err := os.ReadDir(b.config.Crashes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.config.Log.Error("crash records not read", "err", err)
	}
	taken := 0
	for _, e := range entries[:min(len(entries), maxCrashes)] {
		if err := b.takeCrash(e); err != nil {
			b.config.Log.Error("crash record not taken", "record", e.Name(), "err", err)
			continue
		}
		taken++
	}
	if taken > 0 {
		b.config.Log.Warn("the kernel has crashed before this boot", "records", taken)
	}
}

func (b *book) takeCrash(e fs.DirEntry) error {
	name := filepath.Join(b.config.Crashes, e.Name())
	if !e.Type().IsRegular() {
		return fmt.Errorf("is no file but %s", e.Type())
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCrashSize))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		b.write(syslog.Message{
			Facility: syslog.Kernel, Severity: syslog.Critical, Time: info.ModTime(), App: "kernel", ID: "crash",
			Text: e.Name() + ": " + strings.TrimRight(line, "\n"),
		})
	}
	if err := b.ring.Sync(); err != nil {
		return err
	}
	return os.Remove(name)
}
