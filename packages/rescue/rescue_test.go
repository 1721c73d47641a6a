package rescue

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/node"
)

func TestRescue(t *testing.T) {
	c := newContent()
	s := openStick(t, c)
	for name, damage := range damages(func() *disk.Table { _, table := boxDisk(t, "one"); return table }()) {
		t.Run(name, func(t *testing.T) {
			r, old := boxDisk(t, "one")
			damage(r)
			was := r.clone()
			if got, err := Look(r, r.size); err != nil || got != "one" {
				t.Fatalf("Look = %q, %v", got, err)
			}
			var last, total int64
			must(t, s.Write(t.Context(), r, r.size, func(done, all int64) { last, total = done, all }))
			if last != total || total < int64(len(c.root)*4) {
				t.Errorf("progress ends at %d of %d", last, total)
			}
			table := rescued(t, c, r)
			kept(t, was, r, table)
			if table.Part(disk.ESP).GUID == old.Part(disk.ESP).GUID {
				t.Error("partition 1 has the GUID of before")
			}
			if readable := !strings.Contains(name, "tables"); readable != (table.GUID == old.GUID) {
				t.Errorf("the table is the old one: %v", !readable)
			}
		})
	}
}

// A table that had not grown to the disk's size yet stays as it is.
func TestRescueKeepsASmallerTable(t *testing.T) {
	c := newContent()
	s := openStick(t, c)
	r, old := boxDisk(t, "one")
	r.size += 1 << 30
	must(t, s.Write(t.Context(), r, r.size, nil))
	if table := rescued(t, c, r); table.Sectors != old.Sectors || table.Part(disk.Perm) != old.Part(disk.Perm) {
		t.Errorf("/perm %+v became %+v", old.Part(disk.Perm), table.Part(disk.Perm))
	}
}

// The power may go at every write: the disk then starts nothing, is found again, and
// can be written again.
func TestInterruptedAtEveryWrite(t *testing.T) {
	c := newContent()
	s := openStick(t, c)
	for _, lost := range []bool{false, true} {
		before, old := boxDisk(t, "one")
		if lost {
			damages(old)["both tables"](before)
		}
		whole := before.clone()
		must(t, s.Write(t.Context(), whole, whole.size, nil))
		for n := range whole.writes {
			r := before.clone()
			r.left = n
			if err := s.Write(t.Context(), r, r.size, nil); !errors.Is(err, errOff) {
				t.Fatalf("cut at write %d: %v", n, err)
			}
			r.left = -1
			head := r.bytes(old.Part(disk.ESP).Offset(), headSize)
			if n > 0 && n < whole.writes-1 && !bytes.Equal(head, make([]byte, headSize)) {
				t.Fatalf("cut at write %d: firmware would start it", n)
			}
			if got, err := Look(r, r.size); err != nil || got != "one" {
				t.Fatalf("cut at write %d: Look = %q, %v", n, got, err)
			}
			kept(t, before, r, old)
			must(t, s.Write(t.Context(), r, r.size, nil))
			rescued(t, c, r)
			kept(t, before, r, old)
		}
		t.Logf("%d cuts", whole.writes)
	}
}

// What is no disk of the stick's node is not written, whatever else it is.
func TestRefuses(t *testing.T) {
	s := openStick(t, newContent())
	for name, c := range map[string]struct {
		disk func() *ram
		want string
	}{
		"another node":   {func() *ram { r, _ := boxDisk(t, "two"); return r }, "is the disk of node two, and the stick is for one"},
		"no identity":    {func() *ram { return newRAM(diskSize) }, "no identity"},
		"small":          {func() *ram { return newRAM(1 << 30) }, "too small"},
		"a stick":        {func() *ram { return newContent().stick(t) }, "identity of no node"},
		"a nameless one": {func() *ram { r, _ := boxDisk(t, ""); return r }, "without a name"},
		"divided anew": {func() *ram {
			r, table := boxDisk(t, "one")
			table.Partitions[disk.RootA-1].Last--
			must(t, disk.Write(r, table))
			return r
		}, "was the disk of node one, and is divided in another way"},
		"another system's": {func() *ram {
			r, table := boxDisk(t, "one")
			damages(table)["both tables"](r)
			mbr := make([]byte, disk.SectorSize)
			mbr[mbrEntries+mbrType], mbr[510], mbr[511] = 0x83, 0x55, 0xaa
			writeAt(t, r, mbr, 0)
			return r
		}, "was the disk of node one, and has another system's partitions"},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.disk()
			writes := r.writes
			err := s.Write(t.Context(), r, r.size, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if r.writes != writes {
				t.Error("it was written")
			}
		})
	}
}

// broken is a disk that cannot be read.
type broken struct{ io.ReaderAt }

func (broken) ReadAt([]byte, int64) (int, error) { return 0, syscall.EIO }

func TestLookTellsABrokenDisk(t *testing.T) {
	if _, err := Look(broken{}, diskSize); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "cable") {
		t.Errorf("error %v", err)
	}
	if _, err := Look(newRAM(diskSize), diskSize); err != identity.ErrNone {
		t.Errorf("of an empty disk: %v", err)
	}
}

func TestChoose(t *testing.T) {
	own, other := Seen{Name: "sda", Node: "one"}, Seen{Name: "sdb", Node: "two"}
	blank := Seen{Name: "nvme0n1 (480 GB)", Err: identity.ErrNone}
	for name, c := range map[string]struct {
		disks []Seen
		want  int
		words string // of the error
	}{
		"the only one":    {[]Seen{own}, 0, ""},
		"among others":    {[]Seen{blank, other, own}, 2, ""},
		"of another node": {[]Seen{other}, 0, "no disk of node one here; what there is: sdb: is the disk of node two"},
		"no identity":     {[]Seen{blank}, 0, "nvme0n1 (480 GB): no identity on the partition"},
		"two":             {[]Seen{own, blank, {Name: "sdc", Node: "one"}}, 0, "2 disks are the one of node one: sda, sdc"},
		"none at all":     {nil, 0, "this box has no disk"},
	} {
		got, err := Choose("one", c.disks)
		if (err != nil) != (c.words != "") || err != nil && !strings.Contains(err.Error(), c.words) || err == nil && got != c.want {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

// Every part of the stick that is needed is looked at before anything is written.
func TestOpenRefusesADamagedStick(t *testing.T) {
	c := newContent()
	good := c.stick(t)
	table, err := disk.Read(good, stickSize)
	must(t, err)
	at := func(n int, off int64) func(*ram) {
		return func(r *ram) { r.WriteAt([]byte{0xff, 0, 0xff, 0}, table.Part(n).Offset()+off) }
	}
	for name, c := range map[string]struct {
		damage func(*ram)
		want   string
	}{
		"boot files":  {at(disk.Perm, 123456), "boot files: its content"},
		"root":        {at(disk.RootA, int64(len(c.root))-4), "root file system: its content"},
		"manifest":    {at(disk.Identity, 4096+600), "no identity"},
		"table":       {func(r *ram) { *r = *newRAM(stickSize) }, "partition table"},
		"short":       {func(r *ram) { r.size = table.Part(disk.RootA).Offset() + chunk }, "no identity"},
		"short boot":  {func(r *ram) { r.size = table.Part(disk.Perm).Offset() + chunk }, "boot files: read at"},
		"node's disk": {func(r *ram) { d, _ := boxDisk(t, "one"); *r = *d }, "not made as a rescue stick"},
	} {
		r := good.clone()
		c.damage(r)
		if _, err := Open(t.Context(), r, r.size); !errors.Is(err, ErrStick) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// A stick that was whole when it was looked at may fail later.
func TestStickFailsWhileItIsRead(t *testing.T) {
	c := newContent()
	from := c.stick(t)
	s, err := Open(t.Context(), from, stickSize)
	must(t, err)
	table, err := disk.Read(from, stickSize)
	must(t, err)
	writeAt(t, from, []byte("rotten"), table.Part(disk.RootA).Offset()+chunk)
	r, _ := boxDisk(t, "one")
	if err := s.Write(t.Context(), r, r.size, nil); !errors.Is(err, ErrStick) {
		t.Errorf("rotten: %v", err)
	}
	from.size = table.Part(disk.RootA).Offset() + chunk
	if err := s.Write(t.Context(), r, r.size, nil); !errors.Is(err, ErrStick) {
		t.Errorf("pulled out: %v", err)
	}
	must(t, openStick(t, c).Write(t.Context(), r, r.size, nil))
	rescued(t, c, r)
}

// liar takes writes and keeps nothing of some.
type liar struct{ *ram }

func (l liar) WriteAt(b []byte, off int64) (int, error) {
	if len(b) == chunk {
		return len(b), nil
	}
	return l.ram.WriteAt(b, off)
}

func TestWriteReadsBack(t *testing.T) {
	s := openStick(t, newContent())
	r, _ := boxDisk(t, "one")
	if err := s.Write(t.Context(), liar{r}, r.size, nil); err == nil || !strings.Contains(err.Error(), "not what was written") || errors.Is(err, ErrStick) {
		t.Errorf("error %v", err)
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	s := openStick(t, newContent())
	r, _ := boxDisk(t, "one")
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Write(ctx, r, r.size, func(int64, int64) { cancel() })
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrStick) {
		t.Errorf("error %v", err)
	}
	if _, err := Open(ctx, newContent().stick(t), stickSize); !errors.Is(err, context.Canceled) || errors.Is(err, ErrStick) {
		t.Errorf("Open: %v", err)
	}
}

func TestManifest(t *testing.T) {
	if nodeFile != node.NodeFile {
		t.Errorf("the node's file is %s, not %s", node.NodeFile, nodeFile)
	}
	want := newContent().manifest()
	set, err := want.Set()
	must(t, err)
	got, err := parseManifest(set)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for name, spoil := range map[string]func(*Manifest){
		"no node":    func(m *Manifest) { m.Node = "" },
		"no release": func(m *Manifest) { m.Release = "" },
		"guid":       func(m *Manifest) { m.GUID = "x" },
		"hash":       func(m *Manifest) { m.Root.SHA256 = "ab" },
		"large":      func(m *Manifest) { m.Root.Size = disk.RootSize + 1 },
		"empty":      func(m *Manifest) { m.Boot.Size = 0 },
	} {
		m := want
		spoil(&m)
		if _, err := m.Set(); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestNode(t *testing.T) {
	for cmdline, want := range map[string]string{"ro mm.rescue=one quiet": "one", "mm.rescue=\n": "", "xmm.rescue=one": "-", "mm.rescue": "-", "": "-"} {
		got, ok := Node(cmdline)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("Node(%q) = %q, want %q", cmdline, got, want)
		}
	}
}

func FuzzManifest(f *testing.F) {
	set, err := newContent().manifest().Set()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(set[manifestFile])
	f.Add([]byte(`{"node":"one","boot":{"size":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(identity.Set{manifestFile: b})
		if err != nil {
			return
		}
		set, err := m.Set()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseManifest(set)
		if d := cmp.Diff(m, again); d != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
	})
}

func FuzzLook(f *testing.F) {
	table, err := disk.New(disk.MinSize)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"name":"one"}`), []byte{0x83}, uint16(mbrEntries+mbrType))
	f.Add([]byte(`{}`), []byte("EFI PART"), uint16(disk.SectorSize))
	f.Fuzz(func(t *testing.T, file, start []byte, at uint16) {
		r := newRAM(disk.MinSize)
		if err := identity.Write(place{r, table.Part(disk.Identity).Offset()}, identity.Set{nodeFile: file}); err != nil {
			return
		}
		r.WriteAt(start, int64(at))
		name, table, err := look(r, r.size)
		if err == nil && (name == "" || table.Part(disk.Perm).First <= table.Part(disk.Identity).Last) {
			t.Errorf("node %q, table %+v", name, table)
		}
	})
}
