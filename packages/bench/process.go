package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPU returns the processor time that a process and its children have used so
// far, to the nanosecond as the scheduler counts it. Threads and children that
// have ended are not in it.
func CPU(pid int) (time.Duration, error) {
	var total time.Duration
	err := tree(pid, func(pid int) error {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return err
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			first, _, _ := strings.Cut(string(data), " ")
			ns, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return err
			}
			total += time.Duration(ns)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cpu of process %d: %w", pid, err)
	}
	return total, nil
}

// RSS returns the memory that a process and its children hold, shared pages
// counted in parts (PSS), in bytes.
func RSS(pid int) (int64, error) {
	var total int64
	err := tree(pid, func(pid int) error {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return err
		}
		for line := range bytes.Lines(data) {
			if f := strings.Fields(string(line)); len(f) > 1 && f[0] == "Pss:" {
				kib, err := strconv.ParseInt(f[1], 10, 64)
				if err != nil {
					return err
				}
				total += kib << 10
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	return total, nil
}

// tree calls f for a process and all below it.
func tree(pid int, f func(pid int) error) error {
	if err := f(pid); err != nil {
		return err
	}
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return err
	}
	for _, list := range lists {
		data, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(data)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			if err := tree(child, f); err != nil {
				return err
			}
		}
	}
	return nil
}
