package powercut

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/release"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// update is an update of slot b as a script of changes to a disk.
type update struct {
	dir string
	r   *release.Release
}

func (u update) entry(d vm.Disk) slot.Entry {
	f, err := os.Open(d.Path)
	if err != nil {
		return slot.Entry{}
	}
	defer f.Close()
	t, err := disk.Read(f, disk.MinSize)
	if err != nil {
		return slot.Entry{}
	}
	return slot.New(slot.B, 3, u.r, t.Part(disk.ESP).GUID).WithTries(slot.TrialTries)
}

// dropEntry comes after fallback: the only entry left must be one that the loader
// does not rename.
func (u update) dropEntry(d vm.Disk) error { return d.ESPRemove("loader/entries/slot-b.conf") }

const fallbackName = "loader/entries/slot-a.conf"

func (u update) fallback(s *script) {
	s.step(true, func(d vm.Disk) error { return d.ESPRename(runningName, fallbackName) }) // in one sector
}

const temporary = "loader/entries/temporary"

func (u update) prepareEntry(d vm.Disk) error { return d.ESPWrite(temporary, u.entry(d).Body()) }

func (u update) nameEntry(d vm.Disk) error {
	return d.ESPRename(temporary, "loader/entries/"+u.entry(d).FileName())
}

func (u update) writeRoot(d vm.Disk) error {
	b, err := os.ReadFile(filepath.Join(u.dir, release.RootFile))
	return errors.Join(err, d.WriteAt(vm.RootB, 0, b))
}

func (u update) writeBoot(d vm.Disk) error {
	for _, name := range []string{release.KernelFile, release.InitrdFile} {
		b, err := os.ReadFile(filepath.Join(u.dir, name))
		if err := errors.Join(err, d.ESPWrite("slot-b/"+name, b)); err != nil {
			return err
		}
	}
	return nil
}

// crowd fills the folder of entries, so that a further name lies in another sector
// than the first ones.
func (u update) crowd(d vm.Disk) error { return others(d, 20) }

// neighbours fills the folder's first sector, so that a further name lies in the
// second.
func (u update) neighbours(d vm.Disk) error { return others(d, 12) }

func others(d vm.Disk, files int) error {
	for n := range files {
		if err := d.ESPWrite(fmt.Sprintf("loader/entries/other%d", n), nil); err != nil {
			return err
		}
	}
	return nil
}

// The running slot's entry gets another name in two steps.
const (
	runningName = "loader/entries/slot-a+5.conf"
	otherName   = "loader/entries/slot-a+4.conf"
)

func (u update) addName(d vm.Disk) error {
	body, err := d.ESPRead(runningName)
	if err != nil {
		return err
	}
	return d.ESPWrite(otherName, body)
}

func (u update) dropName(d vm.Disk) error { return d.ESPRemove(runningName) }

// The loader's name for the entry is too long for the place of the old one.
const countedName = "loader/entries/slot-a+4-1.conf"

func (u update) count(d vm.Disk) error { return d.ESPRename(runningName, countedName) }

func (u update) restore(d vm.Disk) error { return d.ESPRename(countedName, runningName) }

// problems replays a script and returns what the checker says, by its first word,
// and what the loader chose.
func problems(t *testing.T, base string, s *script, releases ...string) (bad map[string]int, choices map[string]int, cuts int) {
	t.Helper()
	d := record(t, base, s.requests)
	c, err := newChecker(d, releases)
	if err != nil {
		t.Fatal(err)
	}
	bad, choices = map[string]int{}, map[string]int{}
	p := newPlayer(d, c.watched)
	for _, at := range listCuts(d.entries) {
		cuts++
		f := c.check(p.at(at), at.Kind)
		for _, line := range f.Problems {
			bad[strings.Fields(strings.ReplaceAll(line, ":", ""))[0]]++
		}
		choices[f.Choice]++
	}
	return bad, choices, cuts
}

// An update in the right order leaves the old or the new release at each cut; the
// checker sees it when a barrier is missing.
func TestOrderOfAnUpdate(t *testing.T) {
	oldDir, _ := makeRelease(t, 1, "1")
	newDir, next := makeRelease(t, 2, "2")
	base := makeDisk(t, oldDir)
	u := update{newDir, next}
	for _, test := range []struct {
		name  string
		steps func(s *script)
		bad   []string
	}{
		{"right", func(s *script) {
			u.fallback(s)
			s.step(true, u.dropEntry)
			s.step(true, u.writeRoot)
			s.step(true, u.writeBoot)
			s.step(true, u.prepareEntry)
			s.step(true, u.nameEntry)
		}, nil},
		{"entry stays", func(s *script) {
			s.step(true, u.writeRoot)
		}, []string{"root"}},
		{"the only entry is one that the loader counts", func(s *script) {
			s.step(true, u.dropEntry)
		}, []string{"ESP"}},
		{"no barrier before the entry", func(s *script) {
			u.fallback(s)
			s.step(true, u.dropEntry)
			s.step(true, u.writeRoot)
			s.step(true, u.prepareEntry)
			s.step(false, u.writeBoot)
			s.step(true, u.nameEntry)
		}, []string{"ESP"}},
		{"no barrier after the root", func(s *script) {
			u.fallback(s)
			s.step(true, u.dropEntry)
			s.step(true, u.writeBoot)
			s.step(true, u.prepareEntry)
			s.step(false, u.writeRoot)
			s.step(true, u.nameEntry)
		}, []string{"root"}},
		{"name before the content", func(s *script) { // which may be that of the entry dropped
			u.fallback(s)
			s.step(true, u.dropEntry)
			s.step(true, u.writeRoot)
			s.step(true, u.writeBoot)
			s.step(true, func(d vm.Disk) error {
				e := u.entry(d)
				return d.ESPWrite("loader/entries/"+e.FileName(), e.Body())
			})
		}, []string{"ESP"}},
		{"running slot touched", func(s *script) {
			s.step(true, func(d vm.Disk) error { return d.ESPRename("loader/entries/slot-a+5.conf", "loader/entries/slot-a") })
		}, []string{"ESP"}},
		{"renamed without a barrier", func(s *script) { // the old name may go before the new one is there
			s.step(true, u.crowd)
			s.step(false, u.addName)
			s.step(true, u.dropName)
		}, []string{"ESP"}},
		{"renamed with a barrier", func(s *script) {
			s.step(true, u.crowd)
			s.step(true, u.addName)
			s.step(true, u.dropName)
		}, nil},
		{"renamed in one write, which the cut tears", func(s *script) { // as firmware does it for the loader
			s.step(true, u.neighbours)
			for range 10 {
				s.step(true, u.count)
				s.step(true, u.restore)
			}
		}, nil},
		{"the same without another slot", func(s *script) {
			s.step(true, u.dropEntry, u.neighbours)
			for range 10 {
				s.step(true, u.count)
				s.step(true, u.restore)
			}
		}, []string{"ESP"}},
		{"the name that the loader will want is taken", func(s *script) {
			s.step(true, func(d vm.Disk) error {
				body, err := d.ESPRead(runningName)
				return errors.Join(err, d.ESPWrite(countedName, body))
			})
		}, []string{"ESP"}},
		{"identity damaged", func(s *script) {
			s.step(true, func(d vm.Disk) error {
				return errors.Join(d.Scramble(vm.Identity, 0, 8192), d.Scramble(vm.Identity, 32<<20, 8192))
			}, func(d vm.Disk) error { return d.ESPWrite("later", nil) })
		}, []string{"no"}},
		{"loader damaged", func(s *script) {
			s.step(true, func(d vm.Disk) error { return d.ESPScramble("EFI/BOOT/BOOTX64.EFI") })
		}, []string{"ESP"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScript(t, base)
			test.steps(s)
			if test.name == "identity damaged" { // the recording's end counts as new
				s.requests = append(s.requests, undo(t, base, s.requests)...)
			}
			bad, choices, cuts := problems(t, base, s, oldDir, newDir)
			if diff := cmp.Diff(test.bad, slices.Sorted(maps.Keys(bad))); diff != "" && len(test.bad)+len(bad) > 0 {
				t.Errorf("problems in %d cuts: -want +got:\n%s%v", cuts, diff, bad)
			}
			if test.name == "right" && len(choices) != 2 {
				t.Errorf("the loader chose %v, want the old release and the new one", choices)
			}
		})
	}
}

// undo writes back what requests changed.
func undo(t *testing.T, base string, requests []request) []request {
	t.Helper()
	f, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []request
	for _, r := range requests {
		b := make([]byte, len(r.data))
		if _, err := f.ReadAt(b, r.offset); err != nil {
			t.Fatal(err)
		}
		out = append(out, write(r.offset, b))
	}
	return append(out, flush)
}

// The reader agrees with mtools about a file system that these made, with long
// names, folders and files of many clusters.
func TestFATAgreesWithMtools(t *testing.T) {
	img := filepath.Join(t.TempDir(), "fat")
	if out, err := exec.Command("mformat", "-i", img, "-C", "-F", "-T", "131072", "-c", "1", "::").CombinedOutput(); err != nil {
		t.Fatalf("mformat: %v: %s", err, out)
	}
	want := map[string]string{}
	for name, size := range map[string]int{"SHORT.TXT": 10, "a longer name+5-1.conf": 3000, "deep/er/file": 70_000, "empty": 0} {
		content := strings.Repeat(name, size/len(name)+1)[:size]
		want["/"+strings.ToLower(name)] = content
		from := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(from, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if dir := filepath.Dir(name); dir != "." {
			if out, err := exec.Command("mmd", "-i", img, "::deep", "::deep/er").CombinedOutput(); err != nil {
				t.Fatalf("mmd: %v: %s", err, out)
			}
		}
		if out, err := exec.Command("mcopy", "-i", img, from, "::"+name).CombinedOutput(); err != nil {
			t.Fatalf("mcopy: %v: %s", err, out)
		}
	}
	f := openFAT(t, img)
	got := map[string]string{}
	for name, file := range f.files {
		if file.dir {
			continue
		}
		b, err := f.file(name)
		if err != nil {
			t.Error(err)
		}
		got[name] = string(b)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(f.broken)+len(f.crossed) > 0 {
		t.Errorf("-want +got:\n%s\nbroken %v, crossed %v", diff, f.broken, f.crossed)
	}
}

func openFAT(t *testing.T, img string) *fat {
	t.Helper()
	r, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	f, err := readFAT(r)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readFAT neither fails badly nor runs for ever on any bytes.
func FuzzReadFAT(f *testing.F) {
	img := make([]byte, 8*sectorSize) // one table of a sector, clusters of a sector, root in cluster 2
	copy(img[11:], []byte{0, 2, 1, 1, 0, 1})
	img[36], img[44], img[510], img[511] = 1, 2, 0x55, 0xaa
	copy(img[sectorSize:], []byte{0xf8, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x0f, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0x0f})
	copy(img[2*sectorSize:], "FILE       ")
	img[2*sectorSize+26], img[2*sectorSize+28] = 3, 200
	copy(img[2*sectorSize+32:], "DIR        \x10")
	img[2*sectorSize+32+26] = 4
	f.Add(img)
	f.Add(img[:sectorSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		fs, err := readFAT(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		for name, file := range fs.files {
			content, err := fs.file(name)
			if err == nil && int64(len(content)) != file.size {
				t.Errorf("%s has %d bytes, want %d", name, len(content), file.size)
			}
		}
	})
}
