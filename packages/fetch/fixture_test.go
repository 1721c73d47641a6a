package fetch

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"micromirror/packages/chunk"
)

const fileSize = 600_000

// noise is n bytes that are the same each time.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b) // never fails
	return b
}

func source(b []byte) chunk.Source {
	return chunk.Source{Name: "local", R: bytes.NewReader(b), Size: int64(len(b))}
}

// makeJob describes a file, with or without an index.
func makeJob(t testing.TB, content []byte, indexed bool, bases ...string) Job {
	t.Helper()
	j := Job{
		Bases: bases, Path: "releases/1/root.img", Size: int64(len(content)), SHA256: sha256.Sum256(content),
		Dest: filepath.Join(t.TempDir(), "root.img"),
	}
	if indexed {
		index, err := chunk.Make(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		j.Index = index
	}
	return j
}

// server is a web server under the control of a test.
type server struct {
	*httptest.Server
	requests atomic.Int64
	sent     atomic.Int64
}

// serve starts a server; handle gets the content as http.ServeContent would
// serve it to do with it as it likes.
func serve(t *testing.T, handle http.HandlerFunc) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		handle(&counter{w, &s.sent}, r)
	}))
	t.Cleanup(s.Close)
	return s
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// honest serves the content as it should be served.
func honest(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

// mustFetch downloads and compares.
func mustFetch(t *testing.T, f *Fetcher, j Job, content []byte) Stats {
	t.Helper()
	stats, err := f.File(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(j.Dest)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, content) {
		t.Fatalf("%s differs from what was published", j.Dest)
	}
	if _, err := os.Stat(j.Dest + partSuffix); !os.IsNotExist(err) {
		t.Errorf("the part file is still there (error %v)", err)
	}
	return stats
}

// mustFail downloads in vain.
func mustFail(t *testing.T, f *Fetcher, j Job) (Stats, error) {
	t.Helper()
	stats, err := f.File(t.Context(), j)
	if err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(j.Dest); !os.IsNotExist(err) {
		t.Errorf("%s is there (error %v)", j.Dest, err)
	}
	return stats, err
}
