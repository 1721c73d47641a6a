package mirror

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"micromirror/packages/project"
)

func noise(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// TestNewVersionIsFetchedAsADelta puts a package beside its next version, which
// differs little: the connection is cut long before it could carry all of it.
func TestNewVersionIsFetchedAsADelta(t *testing.T) {
	w, peer := peerWorld(t, project.Project{Kind: "apt"}, archive...)
	old := noise(1, 2<<20)
	next := bytes.Clone(old)
	copy(next[1<<20:], noise(2, 10<<10))
	w.change("pool/l/large_1.0-1_all.deb: " + string(old))
	w.mustRun()
	w.change("pool/l/large_1.0-2_all.deb: "+string(next), "-pool/l/large_1.0-1_all.deb")
	w.job.Attempts, w.job.Grace = 1, time.Hour
	peer.Limit.Store(300 << 10)
	w.mustRun()
	got, err := os.ReadFile(filepath.Join(w.job.Tree, "pool/l/large_1.0-2_all.deb"))
	if err != nil || !bytes.Equal(got, next) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Both questions about a file get the same answer, however far apart they are.
func TestBasesAnswerTheSameTwice(t *testing.T) {
	w := newWorld(t, "a/x_1.deb: x", "b/y_1.deb: y", "c/z_1.deb: z", "d/u_1.deb: u", "e/v_1.deb: v", "e/other.txt: o")
	w.mustRun()
	w.change("-a", "-b", "-c", "-d", "-e", "a/x_2.deb: 1", "b/y_2.deb: 2", "c/z_2.deb: 3", "d/u_2.deb: 4", "e/v_2.deb: 5", "e/new.html: 6", "f/w_2.deb: 7")
	list, err := w.upstream.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a/x_2.deb": "x", "b/y_2.deb": "y", "c/z_2.deb": "z", "d/u_2.deb": "u", "e/v_2.deb": "v", "e/new.html": "", "f/w_2.deb": ""}
	b, err := newBases(w.job.Tree, list)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	for range 2 {
		for name, content := range want {
			i, _ := list.Find(name)
			f, err := b.open(i)
			got := ""
			if f != nil {
				data, _ := io.ReadAll(f)
				got = string(data)
				f.Close()
			}
			if err != nil || got != content {
				t.Errorf("%s: basis %q, %v; want %q", name, got, err, content)
			}
		}
	}
	if len(b.known) != 0 {
		t.Errorf("%d choices are still remembered", len(b.known))
	}
}

// A directory of very many files is not searched.
func TestNoSearchInHugeDirectories(t *testing.T) {
	w := newWorld(t, "flat/a_1.deb: a")
	w.mustRun()
	for i := range maxSiblings {
		if err := os.WriteFile(filepath.Join(w.job.Tree, "flat", strconv.Itoa(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.change("flat/a_2.deb: b")
	list, err := w.upstream.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBases(w.job.Tree, list)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	i, _ := list.Find("flat/a_2.deb")
	if f, err := b.open(i); f != nil || err != nil {
		t.Errorf("basis %v, %v", f, err)
	}
}
