// Package smart asks a disk how it is: ATA disks by SMART and the device
// statistics log, NVMe disks by their health log.
//
// Promise: only commands that read are sent, and none that starts a self-test or
// wakes what is in standby for longer than the answer takes. Read tells apart a
// disk that cannot be asked (ErrUnsupported: a virtual disk, a RAID volume, a
// USB bridge) from one that should answer and does not. What a disk leaves out is
// negative in Health, never a guess. Any bytes that a disk may answer with are
// parsed without a panic.
//
// It needs CAP_SYS_RAWIO for ATA disks and CAP_SYS_ADMIN for NVMe. Files: the
// disk's device, opened for reading.
package smart

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUnsupported means that this disk cannot be asked.
var ErrUnsupported = errors.New("disk tells nothing about its health")

// Health is what a disk says of itself. Numbers are -1 where it does not tell.
type Health struct {
	Model, Serial string
	// Failing is the disk's own verdict, and Why says it in words.
	Failing bool
	Why     []string
	// Worn is the share of the rated writes that is used up, in percent; it can
	// pass 100.
	Worn int
	// Celsius is its temperature.
	Celsius int
	// Hours it has been switched on.
	Hours int64
	// Unreadable counts sectors that could not be read and are not replaced yet,
	// and for NVMe all reads that failed for good.
	Unreadable int64
	// Replaced counts sectors that spare ones stand in for.
	Replaced int64
}

func unknown() Health {
	return Health{Worn: -1, Celsius: -1, Hours: -1, Unreadable: -1, Replaced: -1}
}

// String gives what people ask for first, in one line.
func (h Health) String() string {
	words := []string{h.Model}
	if h.Worn >= 0 {
		words = append(words, fmt.Sprintf("%d %% worn", h.Worn))
	}
	if h.Celsius >= 0 {
		words = append(words, fmt.Sprintf("%d °C", h.Celsius))
	}
	return strings.Join(words, ", ")
}

// Read asks the disk at path, for example /dev/sda or /dev/nvme0n1.
func Read(path string) (Health, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return Health{}, fmt.Errorf("disk health: %w", err)
	}
	defer f.Close()
	var h Health
	if strings.HasPrefix(filepath.Base(path), "nvme") {
		h, err = readNVMe(nvmeDevice(f.Fd()))
	} else {
		h, err = readATA(ataDevice(f.Fd()))
	}
	if err != nil {
		return Health{}, fmt.Errorf("disk health: %s: %w", path, err)
	}
	return h, nil
}

// DiskOf names the disk that holds a directory's file system, "sda" for one on
// sda4. sys is /sys.
func DiskOf(sys, dir string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", fmt.Errorf("disk of %s: %w", dir, err)
	}
	link := filepath.Join(sys, "dev/block", deviceNumber(st.Dev))
	device, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", fmt.Errorf("disk of %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(device, "partition")); err == nil {
		device = filepath.Dir(device)
	}
	return filepath.Base(device), nil
}

func deviceNumber(dev uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
}

// text cleans a fixed-length string that a disk answers with.
func text(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b)))
}
