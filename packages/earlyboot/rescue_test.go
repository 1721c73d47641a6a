package earlyboot

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/kmod"
)

// fakeBox is a boot of a machine without modules, and its sysfs and device nodes.
func fakeBox(t *testing.T) (b *boot, said *bytes.Buffer, sys, dev string) {
	t.Helper()
	root := t.TempDir()
	write(t, filepath.Join(root, "lib/modules/test/modules.dep"), "")
	modules, err := kmod.New(kmod.Config{Root: root, Release: "test"})
	if err != nil {
		t.Fatal(err)
	}
	said = &bytes.Buffer{}
	b = &boot{log: &console{said}, dog: &watchdog{path: filepath.Join(root, "watchdog")}, modules: modules, drivers: withUSB}
	return b, said, filepath.Join(root, "sys"), filepath.Join(root, "dev")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// plug makes a disk appear, with the identity of a node if it has a name.
func plug(t *testing.T, sys, dev, name, node string) {
	t.Helper()
	dir := filepath.Join(sys, "block", name)
	for file, text := range map[string]string{"size": "937703088\n", "device/model": "Fast  SSD \n", "queue/logical_block_size": "512\n"} {
		write(t, filepath.Join(dir, file), text)
	}
	path := filepath.Join(dev, name)
	write(t, path, "")
	if err := os.Truncate(path, disk.MinSize); err != nil {
		t.Fatal(err)
	}
	if node == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := disk.New(disk.MinSize)
	if err != nil {
		t.Fatal(err)
	}
	p := table.Part(disk.Identity)
	if err := identity.Write(&partition{f, io.NewSectionReader(f, p.Offset(), p.Size()), p.Offset()}, identity.Set{"node.json": []byte(`{"name": "` + node + `"}`)}); err != nil {
		t.Fatal(err)
	}
}

type partition struct {
	*os.File
	r   io.ReaderAt
	off int64
}

func (p *partition) ReadAt(b []byte, off int64) (int, error)  { return p.r.ReadAt(b, off) }
func (p *partition) WriteAt(b []byte, off int64) (int, error) { return p.File.WriteAt(b, p.off+off) }

// What is no disk, has no medium, or is the stick is not looked at.
func TestCandidates(t *testing.T) {
	_, _, sys, dev := fakeBox(t)
	plug(t, sys, dev, "nvme0n1", "one")
	for _, name := range []string{"sda", "sdb", "sdc", "sdd"} {
		plug(t, sys, dev, name, "")
	}
	write(t, filepath.Join(sys, "block/sdb/queue/logical_block_size"), "4096\n")
	write(t, filepath.Join(sys, "block/sdc/size"), "0\n")
	write(t, filepath.Join(sys, "block/loop0/size"), "77\n")
	disks, seen := candidates(sys, dev, "sdd")
	var got []string
	for i, s := range seen {
		line := disks[i].path[len(dev):] + ": " + s.Name + ": " + s.Node
		if s.Err != nil {
			line += s.Err.Error()
		}
		got = append(got, line)
	}
	want := []string{
		"/nvme0n1: nvme0n1 Fast SSD 480 GB: one",
		"/sda: sda Fast SSD 480 GB: no identity on the partition",
		"/sdb: sdb Fast SSD 480 GB: has sectors of 4096 bytes, a node's disk has 512",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestFindOwnWaitsForDisks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, sys, dev := fakeBox(t)
		go func() {
			time.Sleep(diskWait / 2)
			plug(t, sys, dev, "sda", "one")
		}()
		got, err := b.findOwn(t.Context(), "one", sys, dev, "sdb")
		if err != nil || got.path != filepath.Join(dev, "sda") {
			t.Errorf("%+v, %v", got, err)
		}
		go func() {
			time.Sleep(settle / 2)
			plug(t, sys, dev, "sdc", "one")
		}()
		if got, err := b.findOwn(t.Context(), "one", sys, dev, "sdb"); err == nil || !strings.Contains(err.Error(), "2 disks are the one of node one") {
			t.Errorf("with a second one that comes late: %+v, %v", got, err)
		}
		if got, err := b.findOwn(t.Context(), "two", sys, dev, "sdb"); err == nil || !strings.Contains(err.Error(), "sda Fast SSD 480 GB: is the disk of node one") {
			t.Errorf("of another node: %+v, %v", got, err)
		}
	})
}

// The box waits for the stick to go, whatever became of it, and says why.
func TestLastWords(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		out   time.Duration // when the stick is pulled out
		words string
		said  int
		takes time.Duration
	}{
		"done":            {nil, 50 * time.Second, "<5>mm initrd: rescue: DONE", 3, 50 * time.Second},
		"failed":          {errors.New("bad\ndisk"), 70 * time.Second, "<2>mm initrd: rescue: FAILED: bad; disk; DONE", 4, 70 * time.Second},
		"pulled too soon": {errors.New("gone"), 0, "<2>mm initrd: rescue: FAILED: gone; DONE", 2, readPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, said, _, _ := fakeBox(t)
				start := time.Now()
				b.lastWords(t.Context(), saidDone, c.err, func() bool { return time.Since(start) >= c.out })
				if took := time.Since(start); took != c.takes {
					t.Errorf("took %v, want %v", took, c.takes)
				}
				if n := strings.Count(said.String(), c.words); n != c.said || !strings.Contains(said.String(), "the stick is out, rebooting") {
					t.Errorf("said %d times, want %d:\n%s", n, c.said, said)
				}
			})
		})
	}
}

func TestProgressIsSaidInTenths(t *testing.T) {
	b, said, _, _ := fakeBox(t)
	tell := b.progress()
	for done := range int64(1001) {
		tell(done, 1000)
	}
	if n := strings.Count(said.String(), " %"); n != 10 {
		t.Errorf("said %d times:\n%s", n, said)
	}
}

func TestRescueClasses(t *testing.T) {
	for modalias, want := range map[string]bool{
		"pci:v00001B36d0000000Dsv00001AF4sd00001100bc0Csc03i30": true,
		"usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00":     true,
		"pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01": true,
		"pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00": false,
		"usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip02in00":     false,
	} {
		if got := withUSB.MatchString(modalias); got != want {
			t.Errorf("withUSB(%s) = %v, want %v", modalias, got, want)
		}
	}
}
