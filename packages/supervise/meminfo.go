package supervise

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MemoryUse words how much memory is used, from proc_meminfo(5): what is neither
// free nor a cache that the kernel gives up when somebody needs the room.
func MemoryUse(r io.Reader) (string, error) {
	kib := map[string]int64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return "", fmt.Errorf("memory use: %s %w", f[0], err)
		}
		kib[f[0]] = n
	}
	total, available := kib["MemTotal:"], kib["MemAvailable:"]
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("memory use: %w", err)
	}
	if available <= 0 || total < available {
		return "", fmt.Errorf("memory use: %d KiB of %d KiB are available", available, total)
	}
	return fmt.Sprintf("memory used %d MiB of %d MiB", (total-available)>>10, total>>10), nil
}
