// Package slot manages the two slots of a node as boot loader entries on the EFI
// system partition.
//
// A slot is a root partition, a folder slot-<name>/ with kernel and initramfs on
// the ESP, and an entry loader/entries/slot-<name>[+LEFT[-DONE]].conf (Boot
// Loader Specification, type #1, with boot counting). What the loader prefers is
// the highest generation, a number that grows by one with every installation;
// the release version decides nothing, so that an emergency downgrade works.
//
// The counter rule: only the preferred entry carries a counter, which the loader
// lowers at each boot and which Rearm sets to full again once the node is found
// healthy. The other entry, the fallback, carries none. An entry blessed for
// good by dropping its counter would be tried for ever if it rotted later; two
// counted entries would both run out, and then the loader takes the bad one.
//
// The loader counts by renaming the file, and a power cut that tears the sectors
// of this write can leave neither name. So an entry carries no counter either
// while there is no other to fall back to: a file that the loader must touch is
// never the only one that boots.
//
// The boot loader itself is not updated, although a release carries one. Firmware
// starts it by one name only, EFI/BOOT/BOOTX64.EFI: the boxes drop boot entries of
// their own, so there is no second loader to fall back to. Whoever writes that file
// in place has half of it for a while; and a new file in its place is two writes on
// FAT, the new name and the end of the old one, between which the power cuts found
// neither. No order of such writes has a loader at every point. What could work is
// one write of one sector that points the name at other clusters, past the kernel's
// file system; nothing that is wrong with a loader has been worth that. A damaged
// one is restored as it was (package copies), a newer one comes with the next
// flashing, and a release may only count on what the first loader did.
//
// Promise: a changed entry is a new file that is complete and flushed (package
// durable) before the old one is removed, so a power cut leaves one of them or
// both. Two files of one entry count as the one with the newer content, and Rearm
// removes the other. Neither has the name that the loader gives the chosen one when
// it starts it: it could not rename it, and would start it for ever.
package slot

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"micromirror/packages/disk"
	"micromirror/packages/release"
)

// Name is a slot's name.
type Name string

// The slots.
const (
	A Name = "a"
	B Name = "b"
)

// Tries of a new entry and of one that was found healthy. The difference lets a
// healthy slot survive power cuts in a row, and a bad release end sooner.
const (
	TrialTries = 3
	FullTries  = 5
)

// Other returns the other slot.
func (n Name) Other() Name {
	if n == A {
		return B
	}
	return A
}

// Partition returns the number of the slot's root partition.
func (n Name) Partition() int {
	if n == A {
		return disk.RootA
	}
	return disk.RootB
}

// Dir is the slot's folder on the ESP.
func (n Name) Dir() string { return "slot-" + string(n) }

// Running returns the slot that a kernel command line boots.
func Running(cmdline string) (Name, error) {
	_, partition, err := disk.ParseRoot(cmdline)
	if err != nil {
		return "", fmt.Errorf("running slot: %w", err)
	}
	if partition == disk.RootA {
		return A, nil
	}
	return B, nil
}

// Entry is one boot loader entry.
type Entry struct {
	Slot       Name
	Generation uint64 // the loader boots the highest
	Release    string // for people
	Options    string // the kernel command line
	Counted    bool   // carries a counter
	TriesLeft  int    // 0 with Counted: the loader avoids it
	TriesDone  int
}

// New returns the entry for a release in a slot of the disk whose partition 1
// has the GUID, without a counter.
func New(n Name, generation uint64, r *release.Release, g disk.GUID) Entry {
	return Entry{Slot: n, Generation: generation, Release: r.Version,
		Options: disk.RootArgument(g, n.Partition()) + " verity=" + r.Root.Verity.String() + " " + r.Options}
}

// WithTries returns the entry with a fresh counter.
func (e Entry) WithTries(n int) Entry {
	e.Counted, e.TriesLeft, e.TriesDone = true, n, 0
	return e
}

// WithoutCounter returns the entry as a fallback has it.
func (e Entry) WithoutCounter() Entry {
	e.Counted, e.TriesLeft, e.TriesDone = false, 0, 0
	return e
}

// Started returns the entry as the loader leaves it when it starts it.
func (e Entry) Started() Entry {
	if e.Counted && e.TriesLeft > 0 {
		e.TriesLeft, e.TriesDone = e.TriesLeft-1, e.TriesDone+1
	}
	return e
}

// Bad says whether the entry has used up its tries.
func (e Entry) Bad() bool { return e.Counted && e.TriesLeft == 0 }

// FileName returns the name of the entry's file in loader/entries.
func (e Entry) FileName() string {
	s := e.Slot.Dir()
	if e.Counted {
		s += "+" + strconv.Itoa(e.TriesLeft)
		if e.TriesDone > 0 {
			s += "-" + strconv.Itoa(e.TriesDone)
		}
	}
	return s + ".conf"
}

const (
	sortKey     = "mm"
	titlePrefix = "Micro Mirror "
	maxBody     = 16 << 10
)

// Body returns the content of the entry's file.
func (e Entry) Body() []byte {
	return fmt.Appendf(nil, "title %s%s\nsort-key %s\nversion %d\nlinux /%s/%s\ninitrd /%s/%s\noptions %s\n",
		titlePrefix, e.Release, sortKey, e.Generation,
		e.Slot.Dir(), release.KernelFile, e.Slot.Dir(), release.InitrdFile, e.Options)
}

var (
	fileName = regexp.MustCompile(`^slot-([ab])(?:\+([0-9]{1,4})(?:-([0-9]{1,4}))?)?\.conf$`)
	number   = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
)

// ParseEntry reads an entry. Keys that it does not know are ignored, because a
// newer release may have written them; an entry that does not boot the slot that
// its name says, or whose end is missing, is an error.
func ParseEntry(file string, body []byte) (Entry, error) {
	m := fileName.FindStringSubmatch(file)
	if m == nil {
		return Entry{}, fmt.Errorf("boot entry %q: not a slot's name", file)
	}
	e := Entry{Slot: Name(m[1]), Counted: m[2] != ""}
	e.TriesLeft, _ = strconv.Atoi(m[2]) // both are digits or empty
	e.TriesDone, _ = strconv.Atoi(m[3])
	if err := e.parseBody(body); err != nil {
		return Entry{}, fmt.Errorf("boot entry %s: %w", file, err)
	}
	return e, nil
}

func (e *Entry) parseBody(body []byte) error {
	if len(body) > maxBody || len(body) == 0 || body[len(body)-1] != '\n' || bytes.IndexByte(body, 0) >= 0 {
		return fmt.Errorf("damaged content of %d bytes", len(body))
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(body)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, twice := fields[key]; twice && key != "" && key[0] != '#' {
			return fmt.Errorf("key %q is there twice", key)
		}
		fields[key] = strings.TrimSpace(value)
	}
	for _, must := range []struct{ key, value string }{
		{"sort-key", sortKey},
		{"linux", "/" + e.Slot.Dir() + "/" + release.KernelFile},
		{"initrd", "/" + e.Slot.Dir() + "/" + release.InitrdFile},
	} {
		if fields[must.key] != must.value {
			return fmt.Errorf("%s is %q, want %q", must.key, fields[must.key], must.value)
		}
	}
	if !number.MatchString(fields["version"]) {
		return fmt.Errorf("version %q is not a generation number", fields["version"])
	}
	e.Generation, _ = strconv.ParseUint(fields["version"], 10, 64)
	e.Release = strings.TrimSpace(strings.TrimPrefix(fields["title"], strings.TrimSpace(titlePrefix)))
	e.Options = fields["options"]
	if running, err := Running(e.Options); err != nil || running != e.Slot {
		return fmt.Errorf("options do not boot slot %s: %q", e.Slot, e.Options)
	}
	return nil
}
