package plan

import (
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
	"micromirror/packages/rsync/flist"
)

// BenchmarkMillion plans the first run of a project of a million files, and
// reports the memory that list and plan hold.
func BenchmarkMillion(b *testing.B) {
	const files = 1_000_000
	for b.Loop() {
		list := flist.NewBuilder(flist.Limits{})
		add := func(f flist.File) {
			f.HardLink = flist.NoHardLink
			if _, err := list.Add(f); err != nil {
				b.Fatal(err)
			}
		}
		add(flist.File{Name: ".", Mode: 0o40755})
		for i := range files {
			if i%200 == 0 {
				add(flist.File{Name: fmt.Sprintf("pool-%05d", i/200), Mode: 0o40755})
			}
			add(flist.File{Name: fmt.Sprintf("pool-%05d/some-package-name_%07d_amd64.deb", i/200, i), Mode: 0o100644, Size: int64(i)})
		}
		l, err := list.Finish()
		if err != nil {
			b.Fatal(err)
		}
		root, err := tree.Open(mirrortest.TempDir(b))
		if err != nil {
			b.Fatal(err)
		}
		demo := project.Complete("demo", project.Project{Kind: "apt"})
		p, err := Make(Input{List: l, Tree: root, Phase: demo.Phase, Escapes: Escapes("demo", false), Own: func(string) bool { return false }, Now: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.Write(io.Discard, "demo", func(int) string { return "new/00/0123456789012345678901234567890123456789" }, nil, true); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-live")
		b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-sys")
		runtime.KeepAlive(p)
		root.Close()
	}
}
