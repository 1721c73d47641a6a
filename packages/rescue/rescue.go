// Package rescue writes a box's own disk anew from a USB stick, and leaves the
// node what it is: its identity (partition 5) and /perm (partition 4), with the
// mirror, stay. It is for a box that does not start any more and whose disk still
// works; nobody who can type is there.
//
// The stick is an ordinary disk of a node (package disk/image) whose kernel
// arguments have Argument. In place of an identity it has a Manifest, so nothing
// secret; root a is the release's, and /perm's place holds the content of the EFI
// system partition that the box is to get.
//
// Promise: Open checks every byte that will be needed before anything is written.
// Look knows the disk by its identity, whose place is fixed, so also when both
// copies of its partition table are lost; a disk that somebody has divided
// otherwise since is refused. Write ends with a disk as a fresh flash leaves it, in
// both slots the stick's release, read back from the medium. It can be interrupted
// at any point: the disk then starts nothing, and the next Write repeats it; only
// the last write, one block of 4 KiB, makes the disk start again.
//
// Partition 1 gets a fresh GUID, by which the node sees that what it remembers of
// its slots is of the disk's earlier life. All else of a readable table stays.
//
// Files: none; what it reads and writes are the disks that it is given. It is part
// of the initramfs and imports little.
package rescue

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
)

// Argument is the kernel argument that makes a boot a rescue; its value is the name
// of the node that the stick was made for.
const Argument = "mm.rescue"

// Node returns the value of Argument on a kernel command line.
func Node(cmdline string) (name string, rescue bool) {
	for _, w := range strings.Fields(cmdline) {
		if v, ok := strings.CutPrefix(w, Argument+"="); ok {
			return v, true
		}
	}
	return "", false
}

// Manifest says what is on a stick.
type Manifest struct {
	Node    string `json:"node"`
	Release string `json:"release"`
	// GUID is what the boot entries on Boot call partition 1. The box's own takes
	// its place.
	GUID string `json:"guid"`
	Boot Part   `json:"boot"` // content of the EFI system partition
	Root Part   `json:"root"`
}

// Part is something on the stick.
type Part struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Files in identity sets.
const (
	manifestFile = "rescue.json" // of a stick
	nodeFile     = "node.json"   // of a node, see package node
)

// Describe returns the part that b is.
func Describe(b []byte) Part {
	sum := sha256.Sum256(b)
	return Part{Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
}

// Set is what a stick has in place of an identity.
func (m Manifest) Set() (identity.Set, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(m)
	return identity.Set{manifestFile: b}, err
}

// parseManifest reads what Set has written.
func parseManifest(set identity.Set) (Manifest, error) {
	b, ok := set[manifestFile]
	if !ok {
		return Manifest{}, errors.New("it was not made as a rescue stick")
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("%s: %w", manifestFile, err)
	}
	return m, m.validate()
}

// bootMax bounds what is kept in memory: two kernels and initramfs.
const bootMax = 256 << 20

func (m Manifest) validate() error {
	if m.Node == "" || m.Release == "" {
		return fmt.Errorf("%s: no node or no release", manifestFile)
	}
	if _, err := disk.ParseGUID(m.GUID); err != nil {
		return fmt.Errorf("%s: %w", manifestFile, err)
	}
	for _, p := range []struct {
		name string
		part Part
		max  int64
	}{{"boot", m.Boot, bootMax}, {"root", m.Root, disk.RootSize}} {
		if b, err := hex.DecodeString(p.part.SHA256); err != nil || len(b) != sha256.Size {
			return fmt.Errorf("%s: %s: sha256 %q is not 64 hexadecimal digits", manifestFile, p.name, p.part.SHA256)
		}
		if p.part.Size <= headSize || p.part.Size > p.max {
			return fmt.Errorf("%s: %s: %d bytes, where %d to %d can be", manifestFile, p.name, p.part.Size, headSize+1, p.max)
		}
	}
	return nil
}
