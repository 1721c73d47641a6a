package kmod

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Modprobe is modprobe(8) as far as the kernel uses it: "-q -- NAME…". Other
// options are passed over. With -q an unknown name is no error, because the
// kernel asks for much that nobody has.
func Modprobe(c Config, args []string) error {
	quiet := false
	var names []string
	for i, a := range args {
		if a == "--" {
			names = append(names, args[i+1:]...)
			break
		}
		if !strings.HasPrefix(a, "-") {
			names = append(names, a)
			continue
		}
		quiet = quiet || a == "-q" || a == "--quiet"
	}
	if len(names) == 0 {
		return errors.New("modprobe: no module named")
	}
	l, err := New(c)
	if err != nil {
		return fmt.Errorf("modprobe: %w", err)
	}
	var errs []error
	for _, n := range names {
		if err := l.Load(n); err != nil && !(quiet && errors.Is(err, ErrNotFound)) {
			errs = append(errs, fmt.Errorf("modprobe: %w", err))
		}
	}
	return errors.Join(errs...)
}

// InstallModprobe makes the kernel call the program at path when it wants a
// module. The program is called without environment and must exist by then.
func InstallModprobe(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("install modprobe: %w", err)
	}
	if err := os.WriteFile("/proc/sys/kernel/modprobe", []byte(path), 0o644); err != nil {
		return fmt.Errorf("install modprobe: %w", err)
	}
	return nil
}
