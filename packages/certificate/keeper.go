package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Keeper holds the certificate in use.
type Keeper struct {
	file    string
	current atomic.Pointer[tls.Certificate]
	seen    string // stamp of the file that was read last
	trouble string // what was reported last
	ready   chan struct{}
	log     *slog.Logger
}

// Follow reads the file and again whenever it changes, until ctx ends.
func Follow(ctx context.Context, file string, interval time.Duration, log *slog.Logger) *Keeper {
	k := &Keeper{file: file, ready: make(chan struct{}), log: log}
	k.look()
	go k.run(ctx, interval)
	return k
}

// Current returns the certificate, nil while there is none.
func (k *Keeper) Current() *tls.Certificate { return k.current.Load() }

// Ready is closed once there is a certificate.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

func (k *Keeper) run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.look()
		}
	}
}

// look reads the file if it is another one than before. One that cannot be read is
// tried again: it may be about to get its rights, or the process its descriptors.
func (k *Keeper) look() {
	info, err := os.Stat(k.file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	stamp := ""
	if err == nil {
		stamp = fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Sys().(*syscall.Stat_t).Ino)
	}
	if stamp != "" && stamp == k.seen {
		return
	}
	data, err := os.ReadFile(k.file)
	if err != nil {
		k.report(err)
		return
	}
	k.seen = stamp
	cert, err := Parse(data)
	if err != nil {
		k.report(err)
		return
	}
	k.trouble = ""
	if k.current.Swap(cert) == nil {
		close(k.ready)
	}
	k.log.Info("certificate in use", "names", cert.Leaf.DNSNames, "until", cert.Leaf.NotAfter)
}

// report says once what is wrong with the file.
func (k *Keeper) report(err error) {
	if err.Error() != k.trouble {
		k.trouble = err.Error()
		k.log.Error("certificate not changed", "err", err)
	}
}
