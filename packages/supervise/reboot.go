package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Rebooter restarts the machine through its firmware.
type Rebooter struct {
	Socket string        // gokrazy's HTTP socket
	Limit  time.Duration // after which the kernel is told directly
	Force  func() error  // tells the kernel
	Log    *slog.Logger
}

// rebootPath lets gokrazy stop its services (it waits for each signal so long)
// and unmount /perm. Without kexec, because only the firmware runs the loader
// that counts.
const rebootPath = "/reboot?kexec=off&wait_per_signal=10s"

// Reboot asks init to reboot, and the kernel if nothing came of it. It returns
// when the machine should be gone, or ctx ends because init stops this very
// process.
func (r *Rebooter) Reboot(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, r.Limit)
	defer cancel()
	err := r.ask(asking)
	if err != nil && ctx.Err() == nil { // it is not when init ends this process first
		r.Log.Error("init does not reboot", "err", err)
	}
	<-asking.Done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.Log.Error("still here, resetting the machine")
	return errors.Join(err, r.Force())
}

func (r *Rebooter) ask(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.Socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gokrazy"+rebootPath, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("reboot: %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return err
}

// Uptime is the time since the kernel started, whatever the clock was set to.
func Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Started returns how long ago the first supervisor of this boot started, now
// being the time since the kernel did. It is kept in a volatile file, so that one
// that had to start again counts on. What the initramfs takes for a file system
// check is not part of a trial.
func Started(stamp string, now time.Duration) time.Duration {
	b, err := os.ReadFile(stamp)
	if err == nil {
		if first, err := time.ParseDuration(string(b)); err == nil && first >= 0 && first <= now {
			return now - first
		}
	}
	// Without the file each supervisor counts from its own start.
	_ = os.WriteFile(stamp, []byte(now.String()), 0o644)
	return 0
}
