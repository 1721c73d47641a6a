package powercut

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/release"
	"micromirror/packages/slot"
)

// finding is what the checker found on one disk.
type finding struct {
	Problems []string
	ESP      digest // of the ESP's sectors
	View     string // what firmware and loader see, in one hash
	Choice   string // what the loader boots
	Slot     slot.Name
}

// checker looks at disks offline. What it found about an extent holds for every
// disk with the same content there, and is remembered.
type checker struct {
	size     int64
	releases []*release.Release
	table    *disk.Table
	watched  []extent          // ESP, root A, root B, identity
	kept     map[string]string // the ESP's files that never change, by name: hash
	sets     []identity.Set    // before and after the workload
	running  slot.Name         // that the recording began with
	known    map[string]any
}

// Places of the watched extents.
const (
	watchESP = iota
	watchRootA
	watchRootB
	watchIdentity
)

const (
	loaderFile = "/efi/boot/bootx64.efi"
	loaderConf = "/loader/loader.conf"
)

var entriesDir = "/" + slot.EntriesDir

// newChecker learns from the recording what is to be kept.
func newChecker(d *recorded, releases []string) (*checker, error) {
	c := &checker{size: d.size, kept: map[string]string{}, known: map[string]any{}}
	for _, dir := range releases {
		r, err := release.Read(dir)
		if err != nil {
			return nil, err
		}
		c.releases = append(c.releases, r)
	}
	var err error
	if c.table, err = disk.Read(d.base, d.size); err != nil {
		return nil, err
	}
	for _, n := range []int{disk.ESP, disk.RootA, disk.RootB, disk.Identity} {
		p := c.table.Part(n)
		c.watched = append(c.watched, extent{p.Offset(), p.Size()})
	}
	before, after := newImage(d, nil), newImage(d, nil)
	for _, e := range d.entries {
		after.apply(e, nil)
		after.mark()
	}
	for _, m := range []*image{before, after} {
		set, err := identity.Read(m.section(c.watched[watchIdentity]))
		if err != nil {
			return nil, err
		}
		c.sets = append(c.sets, set)
	}
	f, err := readFAT(before.section(c.watched[watchESP]))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{loaderFile, loaderConf} {
		b, err := f.file(name)
		if err != nil {
			return nil, err
		}
		c.kept[name] = sum(b)
	}
	entries, _ := readEntries(f)
	e, ok := slot.Choose(slices.Collect(maps.Values(entries)))
	if !ok {
		return nil, errors.New("the image that was recorded has nothing to boot")
	}
	c.running = e.Slot
	return c, nil
}

// readEntries returns the boot entries by file name, and for those that the loader
// ignores, as they are damaged, what they hold.
func readEntries(f *fat) (valid map[string]slot.Entry, ignored map[string]string) {
	valid, ignored = map[string]slot.Entry{}, map[string]string{}
	for _, name := range f.list(entriesDir) {
		if path.Ext(name) != ".conf" {
			continue
		}
		b, err := f.file(path.Join(entriesDir, name))
		if err != nil {
			ignored[name] = err.Error()
		} else if e, err := slot.ParseEntry(name, b); err != nil {
			ignored[name] = err.Error()
		} else {
			valid[name] = e
		}
	}
	return valid, ignored
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// remember returns what f once returned for the key.
func remember[T any](c *checker, key string, f func() T) T {
	if v, ok := c.known[key].(T); ok {
		return v
	}
	v := f()
	c.known[key] = v
	return v
}

// check looks at a disk made with the checker's extents watched. The loader counts
// by renaming, for which firmware writes several sectors of a folder at once, the
// old name in one of them and the new one in another. A cut that tears this write
// leaves both names, which the system that starts puts in order if it is well, or
// neither. So what the loader counts is never the only entry.
func (c *checker) check(m *image, kind Kind) finding {
	f := finding{ESP: m.sums[watchESP]}
	esp := remember(c, fmt.Sprintf("esp %x", f.ESP), func() espState { return c.checkESP(m) })
	f.Problems = append(f.Problems, esp.problems...)
	if kind != Torn {
		f.Problems = append(f.Problems, esp.unlessTorn...)
	}
	f.Choice, f.Slot = esp.choice, esp.slot
	for _, e := range esp.entries {
		if err := c.checkRoot(m, e); err != "" {
			f.Problems = append(f.Problems, err)
		}
	}
	if err := c.checkIdentity(m); err != "" {
		f.Problems = append(f.Problems, err)
	}
	if err := c.checkTable(m); err != nil {
		f.Problems = append(f.Problems, err.Error())
	}
	f.View = sum(fmt.Appendf(nil, "%s primary table whole: %v", esp.view, primaryWhole(m)))
	return f
}

// checkTable compares the partition table with the first one. Only /perm may end
// elsewhere.
func (c *checker) checkTable(m *image) error {
	t, err := disk.Read(m, c.size)
	if err != nil {
		return fmt.Errorf("partition table: %w", err)
	}
	for n := range t.Partitions {
		got, want := t.Partitions[n], c.table.Partitions[n]
		if n+1 == disk.Perm && got.Last >= want.Last {
			got.Last = want.Last
		}
		if got != want {
			return fmt.Errorf("partition %d is %+v, was %+v", n+1, got, want)
		}
	}
	return nil
}

// primaryWhole says whether the copy of the table that firmware reads first is
// good; the other one is read by different code.
func primaryWhole(m *image) bool {
	b := make([]byte, 33*sectorSize)
	if _, err := m.ReadAt(b, sectorSize); err != nil {
		return false
	}
	header := slices.Clone(b[:92])
	clear(header[16:20])
	word := func(at int) uint32 {
		return uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16 | uint32(b[at+3])<<24
	}
	return string(b[:8]) == "EFI PART" && crc32.ChecksumIEEE(header) == word(16) && crc32.ChecksumIEEE(b[sectorSize:]) == word(88)
}

// espState is what there is to say about an ESP.
type espState struct {
	problems []string
	// unlessTorn are problems that a torn write of the loader may leave.
	unlessTorn []string
	entries    []bootable
	choice     string
	slot       slot.Name // of the choice
	view       string
}

// bootable is an entry with the release whose kernel and initramfs it starts.
type bootable struct {
	slot    slot.Name
	release *release.Release
}

func (c *checker) checkESP(m *image) (s espState) {
	report := func(format string, args ...any) {
		s.problems = append(s.problems, "ESP: "+fmt.Sprintf(format, args...))
	}
	f, err := readFAT(m.section(c.watched[watchESP]))
	if err != nil {
		report("%v", err)
		return s
	}
	var seen strings.Builder
	used := slices.Sorted(maps.Keys(c.kept))
	for _, name := range used {
		b, err := f.file(name)
		if err != nil || sum(b) != c.kept[name] {
			report("%s has changed (error %v)", name, err)
		}
	}
	entries, ignored := readEntries(f)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		r, files, err := c.bootFiles(f, e)
		if err != nil {
			report("%s: %v", name, err)
		}
		s.entries = append(s.entries, bootable{e.Slot, r})
		dir := "/" + e.Slot.Dir() + "/"
		used = append(used, path.Join(entriesDir, name), dir+release.KernelFile, dir+release.InitrdFile)
		fmt.Fprintf(&seen, "%s %+v %s\n", name, e, files)
	}
	for _, name := range slices.Sorted(maps.Keys(ignored)) {
		fmt.Fprintf(&seen, "%s %s\n", name, ignored[name])
	}
	for _, pair := range f.crossed { // among files that nothing boots it is a matter of repair
		fmt.Fprintf(&seen, "crossed %v\n", pair)
		if slices.Contains(used, pair[0]) || slices.Contains(used, pair[1]) {
			report("%s and %s share a cluster", pair[0], pair[1])
		}
	}
	s.view = seen.String()
	if !slices.ContainsFunc(s.entries, func(b bootable) bool { return b.slot == c.running }) {
		s.unlessTorn = append(s.unlessTorn, fmt.Sprintf("ESP: slot %s, which was running, has lost its entry: %v", c.running, ignored))
	}
	if e, ok := slot.Choose(slices.Collect(maps.Values(entries))); ok {
		s.slot = e.Slot
		s.choice = fmt.Sprintf("slot %s generation %d release %s", e.Slot, e.Generation, e.Release)
		if next := e.Started().FileName(); next != e.FileName() && slices.Contains(f.list(entriesDir), next) {
			s.unlessTorn = append(s.unlessTorn, fmt.Sprintf("ESP: %s would be started for ever: %s is in the way of counting", e.FileName(), next))
		}
		if e.Counted && !e.Bad() && !slices.ContainsFunc(s.entries, func(b bootable) bool { return b.slot != e.Slot }) {
			report("%s is the only entry, and the loader would rename it", e.FileName())
		}
	} else {
		report("nothing to boot")
	}
	return s
}

// bootFiles finds out which release an entry starts. The root file system, named
// by its tree, decides; kernel and initramfs must be of the same.
func (c *checker) bootFiles(f *fat, e slot.Entry) (*release.Release, string, error) {
	var sums [2]string
	for i, name := range []string{release.KernelFile, release.InitrdFile} {
		b, err := f.file("/" + e.Slot.Dir() + "/" + name)
		if err != nil {
			return nil, "", err
		}
		sums[i] = sum(b)
	}
	for _, r := range c.releases {
		if !slices.Contains(strings.Fields(e.Options), "verity="+r.Root.Verity.String()) {
			continue
		}
		if sums[0] != r.Kernel.SHA256 || sums[1] != r.Initrd.SHA256 {
			return nil, "", fmt.Errorf("kernel %s or initramfs %s is not of release %s", sums[0], sums[1], r.Version)
		}
		return r, sums[0] + " " + sums[1], nil
	}
	return nil, "", errors.New("its root file system is of no release")
}

// checkRoot compares a slot's root partition with the release that the entry
// expects there.
func (c *checker) checkRoot(m *image, b bootable) string {
	if b.release == nil { // reported with the ESP
		return ""
	}
	at := watchRootA
	if b.slot == slot.B {
		at = watchRootB
	}
	want := b.release.Root
	return remember(c, fmt.Sprintf("root %d %x %s", at, m.sums[at], want.SHA256), func() string {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(m, c.watched[at].Offset, want.Size)); err != nil {
			return fmt.Sprintf("root %s: %v", b.slot, err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
			return fmt.Sprintf("root %s has hash %s, its entry wants release %s", b.slot, got, b.release.Version)
		}
		return ""
	})
}

// checkIdentity wants what makes the node itself as it was before or after.
func (c *checker) checkIdentity(m *image) string {
	return remember(c, fmt.Sprintf("identity %x", m.sums[watchIdentity]), func() string {
		set, err := identity.Read(m.section(c.watched[watchIdentity]))
		if err != nil {
			return err.Error()
		}
		for _, name := range []string{"node.json", "fleet.json"} {
			same := func(s identity.Set) bool { return string(s[name]) == string(set[name]) }
			if !slices.ContainsFunc(c.sets, same) {
				return fmt.Sprintf("identity: %s is neither old nor new: %q", name, set[name])
			}
		}
		return ""
	})
}

// checkPerm repairs a copy of /perm the way a node does, and reports what is lost.
func (c *checker) checkPerm(ctx context.Context, m *image, work string) error {
	t, err := disk.Read(m, c.size)
	if err != nil {
		return err
	}
	p := t.Part(disk.Perm)
	return examinePerm(ctx, m, extent{p.Offset(), p.Size()}, work, c.sets)
}
