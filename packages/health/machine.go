package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"micromirror/packages/smart"
)

// Watchdog returns a check that a hardware timer would reset the box if it hung.
// sys is /sys.
func Watchdog(sys string) func(context.Context) error {
	return func(context.Context) error {
		dogs, err := filepath.Glob(filepath.Join(sys, "class/watchdog/watchdog*"))
		if err != nil {
			return err
		}
		for _, dog := range dogs {
			if text(filepath.Join(dog, "state")) == "active" {
				return Fact(strings.TrimSpace(text(filepath.Join(dog, "identity")) + " armed"))
			}
		}
		if len(dogs) == 0 {
			return errors.New("no watchdog found")
		}
		return errors.New("no watchdog is armed")
	}
}

// text is the content of a small file, or nothing.
func text(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// hot is where a sensor that names no limit of its own makes one worry, in °C.
const hot = 90

// Temperature returns a check that no sensor is at its limit. A box without
// sensors is fine. sys is /sys.
func Temperature(sys string) func(context.Context) error {
	return func(context.Context) error {
		inputs, err := filepath.Glob(filepath.Join(sys, "class/hwmon/hwmon*/temp*_input"))
		if err != nil {
			return err
		}
		warmest := ""
		most := 0
		for _, input := range inputs {
			celsius, ok := degrees(input)
			if !ok {
				continue
			}
			name := text(filepath.Join(filepath.Dir(input), "name"))
			if limit := limitOf(input); celsius >= limit {
				return fmt.Errorf("%s is at %d °C, its limit is %d °C", name, celsius, limit)
			}
			if celsius > most {
				warmest, most = fmt.Sprintf("%d °C (%s)", celsius, name), celsius
			}
		}
		if warmest == "" {
			return nil
		}
		return Fact(warmest)
	}
}

// degrees reads a sensor's file, which counts thousandths.
func degrees(file string) (celsius int, ok bool) {
	n, err := strconv.Atoi(text(file))
	return n / 1000, err == nil
}

// limitOf is the limit of the sensor whose input is given. Limits that no
// hardware means seriously are passed over.
func limitOf(input string) int {
	for _, kind := range []string{"_crit", "_max"} {
		if n, ok := degrees(strings.TrimSuffix(input, "_input") + kind); ok && n > 40 && n < 130 {
			return n
		}
	}
	return hot
}

// often is how often a disk is asked: its answer changes in days.
const often = 10 * time.Minute

// Disk asks the disk that holds a directory how it is.
type Disk struct {
	Dir, Sys, Dev string
	Read          func(path string) (smart.Health, error)
	Now           func() time.Time

	mu   sync.Mutex
	at   time.Time
	last error
}

// Wear is the check that the disk neither fails nor is near its end. A disk that
// tells nothing is fine.
func (d *Disk) Wear(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.Now(); d.at.IsZero() || now.Sub(d.at) >= often || now.Before(d.at) {
		d.at = now
		name, err := smart.DiskOf(d.Sys, d.Dir)
		if err != nil {
			d.last = Warning(err)
		} else {
			d.last = answer(d.Read(filepath.Join(d.Dev, name)))
		}
	}
	return d.last
}

// worn is the wear, in percent, from which a new disk should be at hand.
const worn = 90

// answer judges what a disk answered.
func answer(h smart.Health, err error) error {
	which := h.Model + ", serial number " + h.Serial
	switch {
	case errors.Is(err, smart.ErrUnsupported):
		return nil
	case err != nil:
		return Warning(err)
	case h.Failing:
		return fmt.Errorf("%s: %s", which, strings.Join(h.Why, ", "))
	case h.Unreadable > 0:
		return Warning(fmt.Errorf("%s: %d sectors cannot be read", which, h.Unreadable))
	case h.Worn >= worn:
		return Warning(fmt.Errorf("%s: %d %% of its writes are used up", which, h.Worn))
	}
	return Fact(h.String())
}
