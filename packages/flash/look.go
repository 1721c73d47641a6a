package flash

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"micromirror/packages/disk"
)

// Machine is where the kernel tells about disks.
type Machine struct {
	Sys, Proc string
}

// Disk is what is known of a disk.
type Disk struct {
	Path      string   `json:"path"`
	Name      string   `json:"name"` // of the kernel
	Model     string   `json:"model,omitempty"`
	Serial    string   `json:"serial,omitempty"`
	Size      int64    `json:"size"`
	Removable bool     `json:"removable"`
	Partition bool     `json:"partition,omitempty"`
	ReadOnly  bool     `json:"read_only,omitempty"`
	System    bool     `json:"system,omitempty"` // carries the running system
	Uses      []string `json:"uses,omitempty"`   // mount points and the like
}

// Look describes the disk whose device node is path, or a symbolic link to it.
func (m Machine) Look(path string) (*Disk, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(real)
	if rest, ok := strings.CutPrefix(real, "/dev/"); ok {
		name = kernelName(rest)
	}
	dir := m.block(name)
	size, err := strconv.ParseInt(m.text(dir, "size"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s is not a disk that the kernel knows: %w", path, err)
	}
	d := &Disk{
		Path: path, Name: name, Size: size * disk.SectorSize,
		Model:     m.text(dir, "device/model"),
		Serial:    m.serial(dir),
		Removable: m.text(dir, "removable") == "1",
		ReadOnly:  m.text(dir, "ro") == "1",
		Partition: m.text(dir, "partition") != "",
	}
	if vendor := m.text(dir, "device/vendor"); d.Model != "" && vendor != "" && vendor != "ATA" && !strings.HasPrefix(vendor, "0x") {
		d.Model = vendor + " " + d.Model
	}
	return d, m.uses(d)
}

// kernelName is the name in /sys of what is called so in /dev.
func kernelName(s string) string { return strings.ReplaceAll(s, "/", "!") }

func (m Machine) block(name string) string { return filepath.Join(m.Sys, "class/block", name) }

// text is the content of a small file, empty if there is none.
func (m Machine) text(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(bytes.Trim(b, "\x00")), ""))
}

func (m Machine) serial(dir string) string {
	for _, name := range []string{"device/serial", "serial"} {
		if s := m.text(dir, name); s != "" {
			return s
		}
	}
	// The unit serial number page of SCSI and SATA: four bytes of header.
	if b, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80")); err == nil && len(b) > 4 {
		return strings.TrimSpace(strings.ToValidUTF8(string(b[4:]), ""))
	}
	return ""
}

// uses finds who uses the disk: what is mounted or swapped to, and what holds a
// part of it.
func (m Machine) uses(d *Disk) error {
	mounts, err := m.mounts()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		if !slices.Contains(m.below(mount.name, nil), d.Name) {
			continue
		}
		d.Uses = append(d.Uses, mount.at)
		d.System = d.System || isSystem(mount.at)
	}
	for _, part := range append(m.partitions(d.Name), d.Name) {
		holders, err := os.ReadDir(filepath.Join(m.block(part), "holders"))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, h := range holders {
			d.Uses = append(d.Uses, h.Name())
		}
	}
	slices.Sort(d.Uses)
	d.Uses = slices.Compact(d.Uses)
	return nil
}

const swap = "swap"

func isSystem(at string) bool {
	return at == swap || at == "/" || slices.ContainsFunc([]string{"/boot", "/usr", "/var", "/home", "/nix", "/etc"},
		func(dir string) bool { return at == dir || strings.HasPrefix(at, dir+"/") })
}

// below lists what a block device lies on: itself, its disk, and their parts.
func (m Machine) below(name string, seen []string) []string {
	if name == "" || slices.Contains(seen, name) {
		return seen
	}
	seen = append(seen, name)
	if m.text(m.block(name), "partition") != "" {
		if real, err := filepath.EvalSymlinks(m.block(name)); err == nil {
			seen = m.below(filepath.Base(filepath.Dir(real)), seen)
		}
	}
	slaves, err := os.ReadDir(filepath.Join(m.block(name), "slaves"))
	if err != nil {
		return seen // it lies on nothing else
	}
	for _, s := range slaves {
		seen = m.below(s.Name(), seen)
	}
	return seen
}

func (m Machine) partitions(name string) []string {
	parts, err := filepath.Glob(filepath.Join(m.block(name), "*", "partition"))
	if err != nil {
		return nil // only for a malformed pattern
	}
	for i, p := range parts {
		parts[i] = filepath.Base(filepath.Dir(p))
	}
	return parts
}

// Refuse says why the disk must not be written as a node's, nil if it may be.
func (d *Disk) Refuse() error {
	if err := d.Taken(); err != nil {
		return err
	}
	if d.Size < disk.MinSize {
		return fmt.Errorf("%s: %w: it has %d MiB, a node needs %d MiB; is a medium inserted?", d.Path, disk.ErrTooSmall, d.Size>>20, int64(disk.MinSize)>>20)
	}
	return nil
}

// Taken says why the disk must not be written, whatever with.
func (d *Disk) Taken() error {
	switch {
	case d.Partition:
		return fmt.Errorf("%s is a partition; name the whole disk", d.Path)
	case d.System:
		return fmt.Errorf("%s carries the system of this computer (%s); name another disk", d.Path, strings.Join(d.Uses, ", "))
	case len(d.Uses) > 0:
		return fmt.Errorf("%s is in use (%s); unmount it, or name another disk", d.Path, strings.Join(d.Uses, ", "))
	case d.ReadOnly:
		return fmt.Errorf("%s is write-protected; move its switch, or take another disk", d.Path)
	}
	return nil
}
