package flash

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mount is a block device, by the kernel's name, and what it is used for.
type mount struct{ name, at string }

// mounts lists the block devices that are mounted or swapped to.
func (m Machine) mounts() ([]mount, error) {
	info, err := os.ReadFile(filepath.Join(m.Proc, "self/mountinfo"))
	if err != nil {
		return nil, err
	}
	out := parseMounts(string(info), m.numbers())
	swaps, err := os.ReadFile(filepath.Join(m.Proc, "swaps"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for line := range strings.Lines(string(swaps)) {
		if f := strings.Fields(line); len(f) > 0 && strings.HasPrefix(f[0], "/dev/") {
			out = append(out, mount{kernelName(f[0][len("/dev/"):]), swap})
		}
	}
	return out, nil
}

// numbers maps major:minor to the kernel's names.
func (m Machine) numbers() map[string]string {
	out := map[string]string{}
	names, err := os.ReadDir(filepath.Join(m.Sys, "class/block"))
	if err != nil {
		return out // mounts are then known by their sources
	}
	for _, n := range names {
		out[m.text(m.block(n.Name()), "dev")] = n.Name()
	}
	return out
}

// parseMounts reads mountinfo, see proc_pid_mountinfo(5). A file system with a
// number of its own, such as btrfs, is known by its source.
func parseMounts(info string, numbers map[string]string) []mount {
	var out []mount
	for line := range strings.Lines(info) {
		f := strings.Fields(line)
		if len(f) < 7 {
			continue
		}
		name := numbers[f[2]]
		if i := slices.Index(f, "-"); name == "" && i >= 0 && i+2 < len(f) {
			name = sourceName(f[i+2])
		}
		if name != "" {
			out = append(out, mount{name, f[4]})
		}
	}
	return out
}

// sourceName is the device that a mount's source names, empty for what is none.
func sourceName(source string) string {
	name, ok := strings.CutPrefix(source, "/dev/")
	if !ok {
		return ""
	}
	if real, err := filepath.EvalSymlinks(source); err == nil {
		name = strings.TrimPrefix(real, "/dev/")
	}
	return kernelName(name)
}
