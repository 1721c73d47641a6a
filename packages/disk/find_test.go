package disk

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseRoot(t *testing.T) {
	const guid = "01234567-89AB-cdef-0123-456789abcdef"
	for _, c := range []struct {
		cmdline string
		want    int // 0: error
	}{
		{"root=PARTUUID=" + guid + "/PARTNROFF=1", RootA},
		{"quiet root=PARTUUID=" + guid + "/PARTNROFF=2 gpt\n", RootB},
		{"root=PARTUUID=" + guid + "/PARTNROFF=3", 0},
		{"root=PARTUUID=" + guid + "/PARTNROFF=12", 0},
		{"noroot=PARTUUID=" + guid + "/PARTNROFF=1", 0},
		{"root=/dev/sda2", 0},
		{"root=PARTUUID=01234567-89ab-cdef-0123456789abcdef-0/PARTNROFF=1", 0},
		{"", 0},
	} {
		g, n, err := ParseRoot(c.cmdline)
		if (err == nil) != (c.want != 0) || err == nil && (n != c.want || g.String() != strings.ToLower(guid)) {
			t.Errorf("ParseRoot(%q) = %v, %d, %v; want %d", c.cmdline, g, n, err, c.want)
		}
		if err == nil && !strings.Contains(strings.ToLower(c.cmdline), strings.ToLower(RootArgument(g, n))) {
			t.Errorf("RootArgument = %q, from %q", RootArgument(g, n), c.cmdline)
		}
	}
}

// fakeMachine makes a sysfs and a /dev with disks that are image files.
func fakeMachine(t *testing.T, names ...string) (sys, dev string, tables map[string]*Table) {
	t.Helper()
	sys, dev, tables = t.TempDir(), t.TempDir(), map[string]*Table{}
	for _, name := range names {
		f, table := testImage(t, testSize)
		must(t, os.Rename(f.Name(), filepath.Join(dev, name)))
		tables[name] = table
		sysFile(t, sys, name, "queue/logical_block_size", "512\n")
	}
	return sys, dev, tables
}

func sysFile(t *testing.T, sys, disk, name, content string) {
	t.Helper()
	path := filepath.Join(sys, "block", disk, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func TestFind(t *testing.T) {
	sys, dev, tables := fakeMachine(t, "nvme0n1", "sda", "sdb")
	for _, name := range []string{"loop0", "sr0"} { // no device node; no medium
		sysFile(t, sys, name, "queue/logical_block_size", "512\n")
	}
	must(t, os.WriteFile(filepath.Join(dev, "sr0"), nil, 0o644))
	for name, table := range tables {
		if r, err := Find(sys, dev, table.Part(ESP).GUID); err != nil || r.Name != name || r.Path != filepath.Join(dev, name) {
			t.Errorf("Find = %+v, %v; want %s", r, err, name)
		}
	}
	_, err := Find(sys, dev, tables["sda"].Part(RootA).GUID)
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "among 5") || !strings.Contains(err.Error(), "loop0") {
		t.Errorf("Find of partition 2's GUID: %v", err)
	}
}

func TestFindTakesTheBackupAndTheLastCopy(t *testing.T) {
	sys, dev, tables := fakeMachine(t, "sda", "sdc")
	guid := tables["sda"].Part(ESP).GUID
	f, err := os.OpenFile(filepath.Join(dev, "sda"), os.O_RDWR, 0)
	must(t, err)
	zero(t, f, 1, 2)
	must(t, f.Close())
	if r, err := Find(sys, dev, guid); err != nil || r.Name != "sda" {
		t.Errorf("with the primary table lost: %+v, %v", r, err)
	}
	must(t, os.Remove(filepath.Join(dev, "sdc")))
	must(t, os.Link(filepath.Join(dev, "sda"), filepath.Join(dev, "sdc")))
	if r, err := Find(sys, dev, guid); err != nil || r.Name != "sdc" {
		t.Errorf("of two copies: %+v, %v; want sdc, like gokrazy", r, err)
	}
	sysFile(t, sys, "sdc", "queue/logical_block_size", "4096\n")
	if r, err := Find(sys, dev, guid); err != nil || r.Name != "sda" {
		t.Errorf("with 4 KiB sectors on sdc: %+v, %v", r, err)
	}
}

func TestPartitionNodes(t *testing.T) {
	sys, dev, tables := fakeMachine(t, "nvme0n1")
	for _, n := range []string{"1", "4"} {
		sysFile(t, sys, "nvme0n1", "nvme0n1p"+n+"/partition", n+"\n")
	}
	r, err := Find(sys, dev, tables["nvme0n1"].Part(ESP).GUID)
	must(t, err)
	if got, err := r.Partition(Perm); err != nil || got != filepath.Join(dev, "nvme0n1p4") {
		t.Errorf("Partition(4) = %q, %v", got, err)
	}
	if _, err := r.Partition(Identity); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Partition(5) error %v", err)
	}
}

func TestStepsToTheKernel(t *testing.T) {
	table := newTable(t, testSize)
	known := map[int]span{}
	for i, p := range table.Partitions {
		if p.Used() {
			known[i+1] = span{p.First, p.Last - p.First + 1}
		}
	}
	perm := known[Perm]
	for _, c := range []struct {
		name   string
		change func(map[int]span)
		want   []step
	}{
		{"agrees", func(map[int]span) {}, nil},
		{"grown", func(m map[int]span) { m[Perm] = span{perm.start, 99} }, []step{{unix.BLKPG_RESIZE_PARTITION, Perm, perm}}},
		{"unknown", func(m map[int]span) { delete(m, Perm) }, []step{{unix.BLKPG_ADD_PARTITION, Perm, perm}}},
		{"moved", func(m map[int]span) { m[Perm] = span{9, 9} },
			[]step{{unix.BLKPG_DEL_PARTITION, Perm, span{9, 9}}, {unix.BLKPG_ADD_PARTITION, Perm, perm}}},
		{"stray", func(m map[int]span) { m[7] = span{9, 9} }, []step{{unix.BLKPG_DEL_PARTITION, 7, span{9, 9}}}},
	} {
		m := maps.Clone(known)
		c.change(m)
		if diff := cmp.Diff(c.want, steps(table, m), cmp.AllowUnexported(step{}, span{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestKernelSpans(t *testing.T) {
	got, err := kernelSpans(fstest.MapFS{
		"sda1/partition": {Data: []byte("1\n")}, "sda1/start": {Data: []byte("2048\n")}, "sda1/size": {Data: []byte("77\n")},
		"holders/x": {Data: nil}, "size": {Data: []byte("9")},
	})
	if diff := cmp.Diff(map[int]span{1: {2048, 77}}, got, cmp.AllowUnexported(span{})); err != nil || diff != "" {
		t.Errorf("(-want +got): %v\n%s", err, diff)
	}
	if _, err := kernelSpans(fstest.MapFS{"sda1/partition": {Data: []byte("one")}}); err == nil {
		t.Error("a partition called one was accepted")
	}
}
