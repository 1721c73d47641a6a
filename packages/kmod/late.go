package kmod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Late loads the drivers that nothing waits for (sensors, USB, the cores' clock)
// once the node does its job, so that they do not slow it down on the way there.
type Late struct {
	Names []string // modules that no device asks for
	// Healthy is the health report that is waited for, Patience how long: what
	// ails the node may be just what a USB stick is to mend.
	Healthy  string
	Patience time.Duration
}

// lateDevices are USB with its host controllers, the CPU and its bridges, on
// which the sensors are. Disks and network cards have long been seen to.
var lateDevices = regexp.MustCompile(`^(usb:|cpu:|pci:.*bc0Csc03|pci:.*bc06sc00)`)

// Load waits, then loads. Its thread stays at the lowest priority.
func (late Late) Load(ctx context.Context, c Config) error {
	if err := late.wait(ctx); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, 19); err != nil {
		return fmt.Errorf("late drivers: %w", err)
	}
	l, err := New(c)
	if err != nil {
		return fmt.Errorf("late drivers: %w", err)
	}
	errs := []error{l.Coldplug(lateDevices.MatchString)}
	for _, name := range late.Names {
		// Made for another model than this one.
		if err := l.Load(name); !errors.Is(err, ErrNotFound) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (late Late) wait(ctx context.Context) error {
	limit := time.After(late.Patience)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for !healthy(late.Healthy) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return nil
		case <-tick.C:
		}
	}
	return nil
}

func healthy(report string) bool {
	var r struct {
		Healthy bool `json:"healthy"`
	}
	b, err := os.ReadFile(report)
	return err == nil && json.Unmarshal(b, &r) == nil && r.Healthy
}
