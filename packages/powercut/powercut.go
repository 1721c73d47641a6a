// Package powercut proves that a power cut at any moment leaves a node that boots.
//
// A machine runs a Workload (first boot, an update, a change of configuration)
// while QEMU's blklogwrites records every write and flush of its disk. Then the
// disk is put together as it would be after a power cut at each point of that
// recording, and looked at:
//
//   - prefix: everything up to that point has reached the disk;
//   - subset: of what was written since the last flush, only some writes have;
//   - torn: and of those, only some sectors.
//
// What was flushed, or written with FUA, is on the disk in all of them. Of two
// writes to one sector the later one wins if it is there: a disk's cache holds one
// version of a sector.
//
// The checker reads the disk offline, by itself: partition table, FAT file system
// with every chain that is reachable, the loader, each boot entry's kernel,
// initramfs and root file system by their hashes, the identity, and for a sample
// /perm after the very repair that a node does when it starts. The loader's choice
// must be a complete slot of one of the releases that the workload knows, and so
// must every other entry: old or new, never a mixture. The loader must be able to
// count its tries. The slot that ran when the recording began keeps an entry
// throughout; a damaged entry beside it does not count, since the loader ignores
// it. Then disks are really booted: every state of the ESP that differs in what
// firmware and loader see, and samples of the rest. A boot is survived when the
// loader started the slot that the checker expected, the node made that slot's
// tries full, and it serves a page. One boot for each thing that the loader can see
// is watched on until the update or the configuration that was cut is complete.
//
// Promise: the same recording gives the same cuts in the same order, each named by
// a Cut, so that a run that was interrupted goes on, and a bad cut can be looked at
// again. No image is copied for the checks; a boot takes a sparse copy.
//
// Files owned: <dir>/<workload>/: base.img, writes.log, recording.json, state.json,
// and boot *.img while machines run; <dir>/bad/ keeps the console of a boot that
// failed; <dir>/repository-of-*/ are what machines update from.
package powercut

import "fmt"

// Kind says what has become of the writes since the last flush.
type Kind string

// The kinds of cuts.
const (
	Prefix Kind = "prefix"
	Subset Kind = "subset"
	Torn   Kind = "torn"
)

// Cut is a power cut: the entry of the log before which the power failed, and for
// what is random the seed.
type Cut struct {
	Before int    `json:"before"`
	Kind   Kind   `json:"kind"`
	Seed   uint64 `json:"seed,omitempty"`
}

func (c Cut) String() string {
	if c.Kind == Prefix {
		return fmt.Sprintf("%s %d", c.Kind, c.Before)
	}
	return fmt.Sprintf("%s %d seed %d", c.Kind, c.Before, c.Seed)
}
