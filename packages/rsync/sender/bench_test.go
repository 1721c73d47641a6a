package sender

import (
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// pool makes a tree of a size without files on disk.
func pool(n int) *Tree {
	s := scanner{tree: new(Tree), groups: map[inode]uint32{}}
	add := func(name string, mode uint32, parent uint32) uint32 {
		i, _ := s.add(&found{name: []byte(name), stat: unix.Stat_t{Mode: mode, Size: int64(len(s.tree.nodes)), Mtim: unix.Timespec{Sec: int64(1_700_000_000 + len(s.tree.nodes)/7), Nsec: 5}}}, parent)
		return i
	}
	root := add("", flist.ModeDir|0o755, 0)
	for i := 0; len(s.tree.nodes) < n; i++ {
		dir := add(fmt.Sprintf("package%06d", i), flist.ModeDir|0o755, root)
		for j := range 50 {
			add(fmt.Sprintf("package-name_%d.%03d-1_amd64.deb", i, j), flist.ModeRegular|0o644, dir)
		}
		s.tree.nodes[dir].files, s.tree.nodes[dir].end = 50, uint32(len(s.tree.nodes))
	}
	s.tree.nodes[root].end = uint32(len(s.tree.nodes))
	return s.tree
}

// BenchmarkList sends a list of 300,000 entries, with and without rules.
func BenchmarkList(b *testing.B) {
	t := pool(300_000)
	rules, err := filter.Parse("- .~tmp~/", "- **/.nfs*", "- *.foo")
	if err != nil {
		b.Fatal(err)
	}
	for name, l := range map[string]*filter.List{"all": nil, "rules": rules} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s := transfer{Session: &Session{
					Tree: t, W: wire.NewWriter(io.Discard, 128<<10), Alive: func() {}, Sums: checksum.Negotiated("xxh128", 1, true),
					Format: flist.Format{Protocol: 32, VarintFlags: true, Links: true, HardLinks: true, Owner: true, Group: true},
				}}
				if s.list, err = choose(b.Context(), t, &Request{Args: []string{""}, Recurse: true, Filter: l}, nil); err != nil {
					b.Fatal(err)
				}
				if err := s.sendList(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
