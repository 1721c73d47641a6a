package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// ErrNotFound is wrapped by Find's error as long as no disk matches; disks may
// still be on their way.
var ErrNotFound = errors.New("no disk found")

// Running is the disk that the running system was booted from.
type Running struct {
	Name string // kernel name, for example sda
	Path string // device node of the whole disk
	GUID GUID   // of partition 1

	sys, dev string
}

var rootArgument = regexp.MustCompile(`(?:^|\s)root=PARTUUID=([0-9a-fA-F-]{36})/PARTNROFF=([12])(?:\s|$)`)

// ParseRoot reads the root= argument of a kernel command line: the GUID of
// partition 1 and the number of the root partition, RootA or RootB.
func ParseRoot(cmdline string) (GUID, int, error) {
	m := rootArgument.FindStringSubmatch(cmdline)
	if m == nil {
		return GUID{}, 0, fmt.Errorf("kernel command line has no root=PARTUUID=…/PARTNROFF=1 or 2: %q", cmdline)
	}
	g, err := ParseGUID(m[1])
	return g, ESP + int(m[2][0]-'0'), err
}

// RootArgument is the root= argument that ParseRoot reads.
func RootArgument(g GUID, partition int) string {
	return "root=PARTUUID=" + g.String() + "/PARTNROFF=" + strconv.Itoa(partition-ESP)
}

// Find looks for the disk whose partition 1 has the GUID, in either copy of its
// table: sys is where sysfs is mounted (/sys), dev where the device nodes are
// (/dev). Of several, which only a byte-wise copy of a disk can cause, it takes
// the last, as gokrazy does when it mounts /perm.
func Find(sys, dev string, g GUID) (*Running, error) {
	disks, err := os.ReadDir(filepath.Join(sys, "block"))
	if err != nil {
		return nil, fmt.Errorf("list disks: %w", err)
	}
	var problems []error
	for _, d := range slices.Backward(disks) {
		r := &Running{Name: d.Name(), Path: filepath.Join(dev, d.Name()), GUID: g, sys: sys, dev: dev}
		ok, err := r.matches()
		if ok {
			return r, nil
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", d.Name(), err))
		}
	}
	missing := fmt.Errorf("%w whose partition 1 is %s, among %d", ErrNotFound, g, len(disks))
	return nil, errors.Join(append([]error{missing}, problems...)...)
}

func (r *Running) matches() (bool, error) {
	if size, err := readNumber(r.sysfs(), "queue/logical_block_size"); err == nil && size != SectorSize {
		return false, errSectorSize
	}
	f, err := os.Open(r.Path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := Size(f)
	if err != nil || size == 0 {
		return false, err
	}
	t, err := Read(f, size)
	if err != nil {
		return false, err
	}
	return t.Part(ESP).Used() && t.Part(ESP).GUID == r.GUID, nil
}

func (r *Running) sysfs() fs.FS { return os.DirFS(filepath.Join(r.sys, "block", r.Name)) }

// Partition returns the device node of partition number n.
func (r *Running) Partition(n int) (string, error) {
	files, err := fs.Glob(r.sysfs(), "*/partition")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if number, err := readNumber(r.sysfs(), file); err == nil && number == uint64(n) {
			return filepath.Join(r.dev, filepath.Base(filepath.Dir(file))), nil
		}
	}
	return "", fmt.Errorf("the kernel knows no partition %d of %s: %w", n, r.Path, fs.ErrNotExist)
}
