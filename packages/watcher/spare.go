package watcher

import (
	"fmt"
	"os"
)

// SpareFile is where a program says that of itself.
const SpareFile = "/proc/self/oom_score_adj"

// spared is the value that says so: see proc_pid_oom_score_adj(5).
const spared = "-1000"

// Spare keeps the kernel from ending this program when memory is exhausted: of
// all programs those that watch over the node must be left, or nobody would reboot
// it. What they use themselves is little. file is SpareFile, which takes the value
// from root only.
func Spare(file string) error {
	if err := os.WriteFile(file, []byte(spared), 0); err != nil {
		return fmt.Errorf("out of memory, this program may go: %w", err)
	}
	return nil
}
