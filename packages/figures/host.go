package figures

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// describeHost notes what the figures were measured on.
func describeHost(loadavg string) (*Report, error) {
	text, err := os.ReadFile(loadavg)
	if err != nil {
		return nil, fmt.Errorf("figures: %w", err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return nil, fmt.Errorf("figures: %s: %w", loadavg, err)
	}
	return &Report{Measured: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Load: load}, nil
}
