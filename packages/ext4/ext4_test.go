package ext4

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// empty makes an empty file system of size bytes with the features of a node's.
func empty(t *testing.T, size int64, more ...string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ext4")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "131072", "-J", "size=4", "-E", "nodiscard,lazy_itable_init=0",
		"-O", "none,has_journal,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum,metadata_csum_seed,resize_inode"}
	tool(t, "mke2fs", append(append(args, more...), path)...)
	return f
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/usr/sbin/"+name, args...)
	cmd.Env = append(os.Environ(), "MKE2FS_CONFIG="+os.DevNull)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

var dir, file, link = Node{Mode: typeDir | 0o755}, Node{Mode: typeFile | 0o644}, Node{Mode: typeLink | 0o777}

// named is a node of that kind.
func named(kind Node, parent int, name string) Node {
	kind.Parent, kind.Name = parent, name
	kind.UID, kind.GID, kind.Sec, kind.Nsec = 803, 70000, 1700000000, 123456789
	return kind
}

// contents are files' contents by node.
type contents map[int][]byte

func (c contents) open(i int) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c[i])), nil
}

// many is a tree with all that is hard: large directories, names of all lengths,
// more files than one group has inodes.
func many(t *testing.T) ([]Node, contents) {
	t.Helper()
	random, data := rand.New(rand.NewPCG(1, 2)), contents{}
	nodes := []Node{dir}
	add := func(n Node, content []byte) int {
		n.Size = int64(len(content))
		data[len(nodes)] = content
		nodes = append(nodes, n)
		return len(nodes) - 1
	}
	top := add(named(dir, Root, "mirror"), nil)
	large := add(named(dir, top, "large"), nil)
	for i := range 2500 {
		add(named(file, large, fmt.Sprintf("%d-%s", i, strings.Repeat("n", i%200))), bytes.Repeat([]byte{byte(i)}, random.IntN(3*BlockSize)))
	}
	for _, size := range []int{0, 1, BlockSize, BlockSize + 1, 5 << 20} {
		add(named(file, top, fmt.Sprintf("of %d bytes", size)), bytes.Repeat([]byte("x"), size))
	}
	first := add(named(file, top, "\xff\n\"$"), []byte("odd"))
	second := named(file, large, "again")
	second.Same = first
	add(second, nil)
	for name, target := range map[string]string{"short": "mirror", "59": strings.Repeat("a", 59), "60": strings.Repeat("b", 60), "long": strings.Repeat("c/", 1000)} {
		l := named(link, top, name)
		l.Target = target
		add(l, nil)
	}
	add(named(dir, top, "empty"), nil)
	add(named(file, Root, strings.Repeat("m", maxName)), []byte("longest"))
	return nodes, data
}

// What e2fsck and debugfs, which wrote none of it, find in a file system is what
// was put in.
func TestPeersReadWhatWasPutIn(t *testing.T) {
	for _, c := range []struct {
		name string
		size int64
		more []string
	}{
		{"small", 512 << 20, nil},
		{"last group is a part", 600<<20 + 12<<10, nil},
		{"many groups", 20 << 30, []string{"-E", "resize=268435456,nodiscard,lazy_itable_init=0"}},
		{"tables not cleared yet", 2 << 30, []string{"-E", "lazy_itable_init=1,nodiscard"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := empty(t, c.size, c.more...)
			nodes, data := many(t)
			spans, err := Fill(t.Context(), Job{Image: img, Content: img, Nodes: nodes, Open: data.open})
			if err != nil {
				t.Fatal(err)
			}
			inOrder(t, spans, c.size)
			tool(t, "e2fsck", "-fn", img.Name())
			compare(t, img.Name(), nodes, data)
			// Indexing large directories must find nothing else to do.
			out, _ := exec.CommandContext(t.Context(), "/usr/sbin/e2fsck", "-fpD", img.Name()).CombinedOutput()
			if strings.Contains(string(out), "Fix") || strings.Contains(string(out), "UNEXPECTED") {
				t.Errorf("e2fsck -D: %s", out)
			}
			tool(t, "e2fsck", "-fn", img.Name())
			compare(t, img.Name(), nodes, data)
		})
	}
}

func inOrder(t *testing.T, spans []Span, size int64) {
	t.Helper()
	at := int64(0)
	for _, s := range spans {
		if s.Offset < at || s.Length <= 0 || s.Offset+s.Length > size || s.Offset%BlockSize != 0 || s.Length%BlockSize != 0 {
			t.Errorf("span %+v after %d in a file system of %d", s, at, size)
		}
		at = s.Offset + s.Length
	}
	if len(spans) == 0 || len(spans) > 8 {
		t.Errorf("content is in %d pieces", len(spans))
	}
}

// compare has debugfs copy everything out.
func compare(t *testing.T, img string, nodes []Node, data contents) {
	t.Helper()
	out := t.TempDir()
	tool(t, "debugfs", "-R", "rdump / "+out, img)
	f := &filler{Job: &Job{Nodes: nodes}}
	for i := range nodes {
		if i == Root {
			continue
		}
		n, path := &nodes[i], filepath.Join(out, f.path(i))
		want := string(data[i])
		if n.Same != Root {
			want = string(data[n.Same])
		}
		got, err := onDisk(path, n.Mode)
		if n.Mode&typeMask == typeLink {
			want = n.Target
		}
		if err != nil || n.Mode&typeMask != typeDir && got != want {
			t.Errorf("%q: got %.20q… (%d bytes), want %.20q… (%d bytes); %v", f.path(i), got, len(got), want, len(want), err)
		}
	}
	stat := tool(t, "debugfs", "-R", "stat /mirror/large/again", img)
	for _, want := range []string{"Links: 2", "User:   803", "Group: 70000", "Mode:  0644", "mtime: 0x6553f100:1d6f3454"} {
		if !strings.Contains(stat, want) {
			t.Errorf("no %q in:\n%s", want, stat)
		}
	}
}

func onDisk(path string, mode uint32) (string, error) {
	switch mode & typeMask {
	case typeLink:
		return os.Readlink(path)
	case typeDir:
		_, err := os.ReadDir(path)
		return "", err
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// Files in so many pieces that their extents need blocks of their own.
func TestManyPieces(t *testing.T) {
	img := empty(t, 512<<20)
	f := &filler{Job: &Job{Image: img, Nodes: []Node{dir, named(file, Root, "a"), named(file, Root, "b")}}, ctx: t.Context()}
	if err := errors.Join(f.load(), f.number(), f.directory(Root)); err != nil {
		t.Fatal(err)
	}
	const pieces = 2*inBlock + 1
	var runs [2][]run
	for range pieces {
		for i := range runs {
			r, err := f.blocks.take(1)
			if err != nil {
				t.Fatal(err)
			}
			runs[i] = append(runs[i], r...)
		}
	}
	for i := range runs {
		c, err := f.extents(f.inodes[i+1], pieces*BlockSize, runs[i])
		if err == nil {
			err = f.write(i+1, c)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store(); err != nil {
		t.Fatal(err)
	}
	tool(t, "e2fsck", "-fn", "-E", "no_optimize_extents", img.Name())
	if out := tool(t, "debugfs", "-R", "ex /a", img.Name()); strings.Count(out, "\n") < pieces {
		t.Errorf("extents of a:\n%.500s", out)
	}
	if _, err := f.extents(f.inodes[1], 1, make([]run, inInode*inBlock+1)); err == nil {
		t.Error("a file in too many pieces was taken")
	}
}

// A file of several extents that are as long as they can be.
func TestLargeFile(t *testing.T) {
	img := empty(t, 2<<30)
	large := named(file, Root, "large")
	large.Size = 5*maxRun*BlockSize + 1
	_, err := Fill(t.Context(), Job{Image: img, Content: nowhere{}, Nodes: []Node{dir, large},
		Open: func(int) (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }})
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "e2fsck", "-fn", img.Name())
	if out := tool(t, "debugfs", "-R", "stat /large", img.Name()); !strings.Contains(out, "Size: 671088641") {
		t.Errorf("stat:\n%s", out)
	}
}

type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestRefuses(t *testing.T) {
	big := named(file, Root, "big")
	big.Size = 300 << 20
	short := named(file, Root, "short")
	short.Size = 5
	with := func(n Node, edit func(*Node)) []Node { edit(&n); return []Node{dir, n} }
	lots := []Node{dir}
	for i := range 3000 {
		lots = append(lots, named(file, Root, fmt.Sprint(i)))
	}
	for name, c := range map[string]struct {
		nodes []Node
		want  string
	}{
		"nothing":        {nil, "root directory"},
		"no root":        {[]Node{file}, "root directory"},
		"too large":      {[]Node{dir, big}, "the file system is full"},
		"too many":       {lots, "inodes are needed"},
		"ends too early": {[]Node{dir, short}, "ends too early"},
		"slash":          {[]Node{dir, named(file, Root, "a/b")}, "impossible name"},
		"parent":         {[]Node{dir, named(file, Root, ".."), file}, "impossible name"},
		"no name":        {[]Node{dir, named(file, Root, "")}, "impossible name"},
		"too long":       {[]Node{dir, named(file, Root, strings.Repeat("a", 256))}, "impossible name"},
		"later parent":   {with(named(file, 5, "a"), func(*Node) {}), "no directory"},
		"in a file":      {[]Node{dir, named(file, Root, "a"), named(file, 1, "b")}, "no directory"},
		"name of itself": {with(named(file, Root, "a"), func(n *Node) { n.Same = 1 }), "further name"},
		"a device":       {with(named(file, Root, "a"), func(n *Node) { n.Mode = 0o060644 }), "neither"},
		"no target":      {[]Node{dir, named(link, Root, "l")}, "target of 0 bytes"},
		"crowded root":   {append([]Node{dir}, lots[1:1000]...), "cannot hold so many"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Fill(t.Context(), Job{Image: empty(t, 256<<20), Content: nowhere{}, Nodes: c.nodes, Open: contents{}.open})
			if name == "too large" {
				_, err = Fill(t.Context(), Job{Image: empty(t, 256<<20), Content: nowhere{}, Nodes: c.nodes,
					Open: func(int) (io.ReadCloser, error) { return io.NopCloser(zeros{}), nil }})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fill(canceled, Job{Image: empty(t, 256<<20), Nodes: []Node{dir}}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	for name, args := range map[string][]string{"small blocks": {"-b", "1024"}, "other features": {"-O", "^metadata_csum,^metadata_csum_seed"}} {
		if _, err := Fill(t.Context(), Job{Image: empty(t, 256<<20, args...), Nodes: []Node{dir}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Fill(t.Context(), Job{Image: sparse(t), Nodes: []Node{dir}}); err == nil || !strings.Contains(err.Error(), "no ext4") {
		t.Errorf("no file system: %v", err)
	}
}

func sparse(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "zeros"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	return f
}

// NeedOf must not promise less than Fill takes.
func TestNeed(t *testing.T) {
	nodes, data := many(t)
	img := empty(t, 512<<20)
	f := &filler{Job: &Job{Image: img, Nodes: nodes}}
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	free := func() (blocks, inodes int64) {
		for _, g := range f.groups {
			blocks, inodes = blocks+int64(g.freeBlocks()), inodes+int64(g.freeInodes())
		}
		return blocks, inodes
	}
	blocks, inodes := free()
	if _, err := Fill(t.Context(), Job{Image: img, Content: img, Nodes: nodes, Open: data.open}); err != nil {
		t.Fatal(err)
	}
	f.groups = nil
	if err := f.load(); err != nil {
		t.Fatal(err)
	}
	after, left := free()
	need := NeedOf(nodes)
	got := Need{Blocks: blocks - after, Inodes: inodes - left}
	if need.Blocks < got.Blocks || need.Blocks > got.Blocks*11/10 || need.Inodes < got.Inodes || need.Inodes > got.Inodes+16 {
		t.Errorf("need %+v, took %+v (-want +got):\n%s", need, got, cmp.Diff(got, need))
	}
}

func FuzzUnpack(f *testing.F) {
	b := make([]byte, BlockSize)
	f.Add(b)
	full := &filler{}
	f.Add(full.pack(2, []entry{{2, 2, "."}, {2, 2, ".."}, {11, 2, "lost+found"}})[0])
	f.Fuzz(func(t *testing.T, b []byte) {
		block := make([]byte, BlockSize)
		copy(block, b)
		names, err := unpack(block)
		if err != nil {
			return
		}
		again := full.pack(2, names)
		if len(names) > 0 && len(again) != 1 {
			t.Errorf("%d names of one block need %d", len(names), len(again))
		}
	})
}
