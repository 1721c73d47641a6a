package kmod

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxRounds bounds how deep drivers that bring forth further devices may nest:
// host controller, bus, disk, and one to spare.
const maxRounds = 5

// Coldplug loads the modules that the devices present ask for, if want says so
// of their modalias, and goes round again for the devices that these bring
// forth. It answers with what went wrong, device by device; a device without a
// module, or one whose driver does not want it, is no error. Called again, it
// looks at new devices only.
func (l *Loader) Coldplug(want func(modalias string) bool) error {
	var errs []error
	for range maxRounds {
		fresh := false
		for _, a := range l.modaliases() {
			if l.tried[a] || !want(a) {
				continue
			}
			l.tried[a], fresh = true, true
			if err := l.Load(a); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, unix.ENODEV) {
				errs = append(errs, err)
			}
		}
		if !fresh {
			break
		}
	}
	return errors.Join(errs...)
}

// modaliases lists what the devices present say they are. Going by bus, and by
// the classes whose devices are on none, finds them without a walk through all of
// /sys/devices, which takes a second on a slow machine.
func (l *Loader) modaliases() (aliases []string) {
	for _, pattern := range []string{"bus/*/devices/*/modalias", "class/input/*/modalias", "class/dmi/*/modalias", "devices/system/cpu/modalias"} {
		files, _ := filepath.Glob(filepath.Join(l.sys, pattern)) // fails for a bad pattern only
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil { // devices come and go while we look
				if a := strings.TrimSpace(string(b)); a != "" {
					aliases = append(aliases, a)
				}
			}
		}
	}
	return aliases
}
