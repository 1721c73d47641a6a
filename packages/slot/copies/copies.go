// Package copies keeps the files that a node boots from alive: the loader, its
// configuration, and of each slot that was found good the kernel, the initramfs
// and the boot entry. They lie on a FAT file system, which has neither a journal
// nor checksums.
//
// After the bless, Learn records their hashes and copies what is new to /perm.
// At each boot, Check compares the EFI system partition with the record and
// writes back what is damaged or gone; in turn it makes a copy anew that is
// damaged on /perm. So each place restores the other:
//
//	lost                                  restored from
//	loader, loader.conf, kernel, initrd   the copy on /perm
//	entry of the running slot             the record
//	a copy on /perm, or all of them       the EFI system partition
//	the record                            its second copy on the identity partition
//	a root file system                    nothing: dm-verity finds it, the loader
//	                                      takes the other slot, the next release
//	                                      overwrites it
//
// On a disk that was written anew, as by a rescue, nothing of the record counts: it
// is learned again.
//
// Promise: a slot's files are only touched while its entry still is the one that
// was recorded (generation, release, and options, which name the root's hash), so
// never those of a release installed since. The running slot's entry is only made
// anew if the kernel was started with the recorded options.
// Nothing is written that does not have the recorded hash.
//
// Files: <dir>/boot.json (the record), <dir>/boot/<sha256> (the copies).
package copies

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/disk"
	"micromirror/packages/durable"
	"micromirror/packages/release"
	"micromirror/packages/slot"
)

// ESP is the EFI system partition.
type ESP interface {
	Change(f func(dir string) error) error
	Path() string
}

// Keeper keeps the copies.
type Keeper struct {
	ESP ESP
	Dir string // of the record and the copies
}

// record is boot.json.
type record struct {
	Loader map[string]string   `json:"loader"` // hash by path on the ESP
	Slots  map[slot.Name]known `json:"slots"`
}

// known is a slot that was found good.
type known struct {
	Generation uint64            `json:"generation"`
	Release    string            `json:"release"`
	Options    string            `json:"options"`
	Files      map[string]string `json:"files"`
}

func loaderFiles() []string { return []string{"EFI/BOOT/BOOTX64.EFI", "loader/loader.conf"} }

func slotFiles(n slot.Name) []string {
	return []string{path.Join(n.Dir(), release.KernelFile), path.Join(n.Dir(), release.InitrdFile)}
}

// maxFile bounds a file of the ESP.
const maxFile = 256 << 20

func (k *Keeper) record() string { return filepath.Join(k.Dir, "boot.json") }

func (k *Keeper) copyOf(sum string) string { return filepath.Join(k.Dir, "boot", sum) }

func (k *Keeper) load() (record, error) {
	var r record
	b, err := os.ReadFile(k.record())
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		r = record{}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return r, err
}

// Learn records what the running slot, which was just found good, boots from.
// The loader is recorded once: no release replaces it.
func (k *Keeper) Learn(running slot.Name) error {
	r, err := k.load()
	if err != nil {
		r = record{} // damaged, and made anew
	}
	entries, err := slot.List(k.ESP.Path())
	i := slices.IndexFunc(entries, func(e slot.Entry) bool { return e.Slot == running })
	if i < 0 {
		return fmt.Errorf("copy boot files: slot %s has no entry: %w", running, err)
	}
	e := entries[i]
	r = r.of(e.Options)
	if r.Slots == nil {
		r.Slots = map[slot.Name]known{}
	}
	if r.Loader == nil {
		if r.Loader, err = k.hash(loaderFiles()); err != nil {
			return fmt.Errorf("copy boot files: %w", err)
		}
	}
	if !r.Slots[running].is(e) {
		files, err := k.hash(slotFiles(running))
		if err != nil {
			return fmt.Errorf("copy boot files: %w", err)
		}
		r.Slots[running] = known{Generation: e.Generation, Release: e.Release, Options: e.Options, Files: files}
	}
	r.forget(entries)
	if err := k.keep(r); err != nil {
		return fmt.Errorf("copy boot files: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(k.record()); err == nil && string(old) == string(b) {
		return nil
	}
	return durable.WriteFile(k.record(), b, 0o644)
}

// of returns the record if it is of the disk that the kernel was started from.
func (r record) of(options string) record {
	here, _, err := disk.ParseRoot(options)
	for _, s := range r.Slots {
		if recorded, _, other := disk.ParseRoot(s.Options); err == nil && other == nil && recorded != here {
			return record{}
		}
	}
	return r
}

// forget drops slots that hold another release by now.
func (r record) forget(entries []slot.Entry) {
	maps.DeleteFunc(r.Slots, func(n slot.Name, s known) bool {
		return !slices.ContainsFunc(entries, func(e slot.Entry) bool { return e.Slot == n && s.is(e) })
	})
}

// is says whether an entry boots what was recorded.
func (s known) is(e slot.Entry) bool {
	return s.Generation == e.Generation && s.Release == e.Release && s.Options == e.Options
}

// files lists all recorded files by path.
func (r record) files() map[string]string {
	all := maps.Clone(r.Loader)
	if all == nil {
		all = map[string]string{}
	}
	for _, s := range r.Slots {
		maps.Copy(all, s.Files)
	}
	return all
}

// Check compares, and restores what differs. It returns what it restored; the
// error names what it could not. The kernel's command line says what really runs.
func (k *Keeper) Check(running slot.Name, cmdline string) (restored []string, err error) {
	r, err := k.load()
	if err != nil {
		return nil, fmt.Errorf("check boot files: %w", err)
	}
	r = r.of(cmdline)
	var errs []error
	entries, listErr := slot.List(k.ESP.Path())
	if has := slices.ContainsFunc(entries, func(e slot.Entry) bool { return e.Slot == running }); !has && r.Slots[running].Generation > 0 && strings.Contains(cmdline, r.Slots[running].Options) {
		s := r.Slots[running]
		e := slot.Entry{Slot: running, Generation: s.Generation, Release: s.Release, Options: s.Options}
		if err := k.ESP.Change(func(dir string) error { return slot.Put(dir, e) }); err != nil {
			errs = append(errs, err, listErr)
		} else {
			entries = append(entries, e)
			restored = append(restored, "boot entry of slot "+string(running))
		}
	}
	r.forget(entries)
	all := r.files()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if sum, err := hashFile(filepath.Join(k.ESP.Path(), name)); err == nil && sum == all[name] {
			continue
		}
		if err := k.restore(name, all[name]); err != nil {
			errs = append(errs, fmt.Errorf("%s is damaged and cannot be restored: %w", name, err))
			continue
		}
		restored = append(restored, name)
	}
	if err := k.keep(r); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return restored, fmt.Errorf("check boot files: %w", err)
	}
	return restored, nil
}

// restore writes a copy back.
func (k *Keeper) restore(name, sum string) error {
	b, err := os.ReadFile(k.copyOf(sum))
	if err != nil {
		return err
	}
	if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != sum {
		return errors.New("its copy is damaged, too")
	}
	return k.ESP.Change(func(dir string) error {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(file, b, 0o644); err != nil {
			return err
		}
		if err := durable.Barrier(filepath.Dir(file)); err != nil {
			return err
		}
		if got, err := hashFile(file); err != nil || got != sum {
			return fmt.Errorf("reading back %s: %w", name, errors.Join(err, errors.New("different content")))
		}
		return nil
	})
}

// keep makes the copies that are missing or damaged, and removes those that
// nothing refers to.
func (k *Keeper) keep(r record) error {
	if err := os.MkdirAll(filepath.Join(k.Dir, "boot"), 0o755); err != nil {
		return err
	}
	all := r.files()
	var errs []error
	for name, sum := range all {
		if got, err := hashFile(k.copyOf(sum)); err == nil && got == sum {
			continue
		}
		b, err := os.ReadFile(filepath.Join(k.ESP.Path(), name))
		if got := sha256.Sum256(b); err != nil || hex.EncodeToString(got[:]) != sum {
			continue // said already that it is damaged
		}
		errs = append(errs, durable.WriteFile(k.copyOf(sum), b, 0o644))
	}
	files, err := os.ReadDir(filepath.Join(k.Dir, "boot"))
	errs = append(errs, err)
	used := slices.Collect(maps.Values(all))
	for _, f := range files {
		if !slices.Contains(used, f.Name()) {
			errs = append(errs, os.Remove(filepath.Join(k.Dir, "boot", f.Name())))
		}
	}
	return errors.Join(errs...)
}

func (k *Keeper) hash(names []string) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range names {
		sum, err := hashFile(filepath.Join(k.ESP.Path(), name))
		if err != nil {
			return nil, err
		}
		out[name] = sum
	}
	return out, nil
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxFile+1))
	if err == nil && n > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", file, maxFile)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}
