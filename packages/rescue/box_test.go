package rescue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"testing"

	"micromirror/packages/disk"
	"micromirror/packages/identity"
	"micromirror/packages/node"
)

const (
	diskSize  = disk.MinSize + 64<<20
	stickSize = disk.MinSize
	block     = 4096
)

var empty [block]byte

var errOff = errors.New("the power is off")

// ram is a disk of which only what was written is kept. It can lose its power.
type ram struct {
	size   int64
	blocks map[int64]*[block]byte // never changed, but replaced
	writes int
	left   int // writes until the power goes; negative for never
}

func newRAM(size int64) *ram { return &ram{size: size, blocks: map[int64]*[block]byte{}, left: -1} }

func (r *ram) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		piece := r.blocks[at/block]
		if piece == nil {
			piece = &empty
		}
		n += copy(b[n:min(len(b), n+int(r.size-at))], piece[at%block:])
	}
	return n, nil
}

func (r *ram) WriteAt(b []byte, off int64) (n int, err error) {
	if r.writes++; r.left == 0 {
		// Half of it has arrived.
		b, err = b[:len(b)/2], errOff
	} else if r.left > 0 {
		r.left--
	}
	for n < len(b) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.ErrShortWrite
		}
		var piece [block]byte
		if old := r.blocks[at/block]; old != nil {
			piece = *old
		}
		n += copy(piece[at%block:], b[n:])
		r.blocks[at/block] = &piece
	}
	return n, err
}

func (r *ram) Sync() error {
	if r.left == 0 {
		return errOff
	}
	return nil
}

func (r *ram) clone() *ram { return &ram{size: r.size, blocks: maps.Clone(r.blocks), left: -1} }

func (r *ram) bytes(off, n int64) []byte {
	b := make([]byte, n)
	if _, err := r.ReadAt(b, off); err != nil {
		panic(err)
	}
	return b
}

// place is a partition.
type place struct {
	*ram
	off int64
}

func (p place) ReadAt(b []byte, off int64) (int, error)  { return p.ram.ReadAt(b, p.off+off) }
func (p place) WriteAt(b []byte, off int64) (int, error) { return p.ram.WriteAt(b, p.off+off) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func writeAt(t *testing.T, r *ram, b []byte, off int64) {
	t.Helper()
	_, err := r.WriteAt(b, off)
	must(t, err)
}

// layout is a disk with a table and an identity.
func layout(t *testing.T, size int64, set identity.Set) (*ram, *disk.Table) {
	t.Helper()
	r := newRAM(size)
	table, err := disk.New(size)
	must(t, err)
	must(t, disk.Write(r, table))
	must(t, identity.Write(place{r, table.Part(disk.Identity).Offset()}, set))
	return r, table
}

// boxDisk is a node's disk whose system is of another release.
func boxDisk(t *testing.T, name string) (*ram, *disk.Table) {
	t.Helper()
	r, table := layout(t, diskSize, identity.Set{node.NodeFile: fmt.Appendf(nil, "{%q: %q}", "name", name), node.KeyFile: []byte("key")})
	for i, n := range []int{disk.ESP, disk.RootA, disk.RootB, disk.Perm} {
		writeAt(t, r, noise(byte(n), 3*block), table.Part(n).Offset()+int64(i))
	}
	return r, table
}

// content of the stick.
type content struct {
	guid       disk.GUID
	boot, root []byte
}

func newContent() content {
	c := content{guid: disk.NewGUID(), boot: noise(11, chunk+3*block), root: noise(12, chunk+block+5)}
	for _, at := range []int{2 * block, headSize + chunk - 20} { // two entries, one across pieces
		copy(c.boot[at:], disk.RootArgument(c.guid, disk.RootA))
	}
	return c
}

func (c content) manifest() Manifest {
	return Manifest{Node: "one", Release: "2026.11.22", GUID: c.guid.String(), Boot: Describe(c.boot), Root: Describe(c.root)}
}

func (c content) stick(t *testing.T) *ram {
	t.Helper()
	set, err := c.manifest().Set()
	must(t, err)
	r, table := layout(t, stickSize, set)
	writeAt(t, r, c.boot, table.Part(disk.Perm).Offset())
	writeAt(t, r, c.root, table.Part(disk.RootA).Offset())
	return r
}

func openStick(t *testing.T, c content) *Stick {
	t.Helper()
	s, err := Open(t.Context(), c.stick(t), stickSize)
	must(t, err)
	return s
}

// rescued fails the test unless the disk is what a rescue leaves.
func rescued(t *testing.T, c content, r *ram) *disk.Table {
	t.Helper()
	table, err := disk.Read(r, r.size)
	must(t, err)
	boot := bytes.ReplaceAll(c.boot, []byte(c.guid.String()), []byte(table.Part(disk.ESP).GUID.String()))
	for name, x := range map[string]struct {
		want []byte
		part int
	}{"boot files": {boot, disk.ESP}, "root a": {c.root, disk.RootA}, "root b": {c.root, disk.RootB}} {
		if !bytes.Equal(r.bytes(table.Part(x.part).Offset(), int64(len(x.want))), x.want) {
			t.Errorf("%s is not the stick's", name)
		}
	}
	return table
}

// kept fails the test unless what makes the node itself is as it was.
func kept(t *testing.T, was, is *ram, table *disk.Table) {
	t.Helper()
	from := table.Part(disk.Identity).Offset() // /perm follows
	for i, b := range was.blocks {
		if at := i * block; at >= from && at < table.Part(disk.Perm).Offset()+chunk && (is.blocks[i] == nil || *is.blocks[i] != *b) {
			t.Fatalf("the block at %d has changed", at)
		}
	}
	for i := range is.blocks {
		if at := i * block; at >= from && at < table.Part(disk.Perm).Offset()+table.Part(disk.Perm).Size() {
			if _, ok := was.blocks[i]; !ok {
				t.Fatalf("the block at %d was written", at)
			}
		}
	}
}

// damages are what can have happened to a box's disk.
func damages(table *disk.Table) map[string]func(*ram) {
	wreck := func(r *ram, off int64, n int) {
		r.WriteAt(noise(9, n), off) // is in memory
	}
	primary := func(r *ram) { wreck(r, 0, 34*disk.SectorSize) }
	backup := func(r *ram) { wreck(r, r.size-33*disk.SectorSize, 33*disk.SectorSize) }
	return map[string]func(*ram){
		"boot files":     func(r *ram) { wreck(r, table.Part(disk.ESP).Offset(), 1<<20) },
		"primary table":  primary,
		"backup table":   backup,
		"both tables":    func(r *ram) { primary(r); backup(r) },
		"tables zero":    func(r *ram) { r.WriteAt(make([]byte, chunk), 0); r.WriteAt(make([]byte, block), r.size-block) },
		"half identity":  func(r *ram) { wreck(r, table.Part(disk.Identity).Offset()+identity.HalfSize, block) },
		"nothing at all": func(*ram) {},
	}
}
