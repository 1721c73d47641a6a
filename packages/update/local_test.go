package update

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"micromirror/packages/chunk"
	"micromirror/packages/fetch"
	"micromirror/packages/release"
)

// What the slots hold is cut once, and not at all where nothing is.
func TestLocalSourcesAreCutOnce(t *testing.T) {
	f := newFleet(t)
	b := f.newBox("one", "2026.11.01")
	watch := func() (reused *int64, sizes map[string][]int64) {
		reused, sizes = new(int64), map[string][]int64{}
		get := b.u.Fetch
		b.u.Fetch = func(ctx context.Context, j fetch.Job) (fetch.Stats, error) {
			name := filepath.Base(j.Dest)
			for _, s := range j.Local {
				if s.Known == nil {
					t.Errorf("%s of %s is cut again", name, s.Name)
				}
				sizes[name] = append(sizes[name], s.Size)
			}
			stats, err := get(ctx, j)
			*reused += stats.Reused
			return stats, err
		}
		return reused, sizes
	}
	marks := func() []string {
		files, err := filepath.Glob(filepath.Join(b.state(), "chunks", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	b.boot()
	f.publish("2026.11.02")
	reused, sizes := watch()
	b.settle()
	b.runs("2026.11.02")
	const total = 270 << 10
	if len(sizes[release.RootFile]) != 1 || sizes[release.RootFile][0] > 1<<20 || *reused < total*6/10 || len(marks()) != 3 {
		t.Errorf("first update: reused %d bytes of sources %v, known %v", *reused, sizes, marks())
	}
	// A damaged memory costs time, a wrong one download.
	if err := os.WriteFile(marks()[0], []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	wrong, err := (&chunk.Index{Size: 40 << 10, Chunks: []chunk.Chunk{{Size: 40 << 10}}}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range marks() {
		if st, err := os.Stat(file); err == nil && st.Size() > 1 {
			if err := os.WriteFile(file, wrong, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.publish("2026.11.03")
	reused, sizes = watch()
	b.settle()
	b.runs("2026.11.03")
	if len(sizes[release.RootFile]) != 2 || *reused < total*6/10 || len(marks()) != 6 {
		t.Errorf("second update: reused %d bytes of sources %v, known %v", *reused, sizes, marks())
	}
	f.publish("2026.11.04")
	b.settle()
	b.runs("2026.11.04")
	if len(marks()) != 6 {
		t.Errorf("known %v", marks())
	}
}

func TestUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "part")
	for name, c := range map[string]struct {
		head string
		size int64
		want int64
	}{
		"never written": {"", 1 << 30, 0},
		"squashfs":      {"hsqs" + string(make([]byte, 36)) + "\x00\x00\x00\x04\x00\x00\x00\x00", 1 << 30, 64<<20 + 2<<20},
		"full":          {"hsqs" + string(make([]byte, 36)) + "\x00\x00\x00\x04\x00\x00\x00\x00", 65 << 20, 65 << 20},
		"nonsense":      {"hsqs" + string(make([]byte, 36)) + "\xff\xff\xff\xff\xff\xff\xff\xff", 1 << 20, 0},
	} {
		if err := os.WriteFile(file, []byte(c.head), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, c.size); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := used(f, c.size); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
		f.Close()
	}
}
