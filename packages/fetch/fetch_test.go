package fetch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"micromirror/packages/chunk"
)

func TestWholeFile(t *testing.T) {
	for _, indexed := range []bool{false, true} {
		content := noise(1, fileSize)
		s := serve(t, honest(content))
		j := makeJob(t, content, indexed, s.URL+"/repository/")
		stats := mustFetch(t, New(Config{}), j, content)
		if want := (Stats{Bytes: fileSize}); stats != want {
			t.Errorf("indexed %v: %+v, want %+v", indexed, stats, want)
		}
		if n := s.requests.Load(); n != 1 {
			t.Errorf("indexed %v: %d requests, want 1", indexed, n)
		}
	}
}

func TestEmptyFile(t *testing.T) {
	mustFetch(t, New(Config{}), makeJob(t, nil, false), nil)
}

// Only what has changed travels, with one request a stretch.
func TestOnlyChangesTravel(t *testing.T) {
	old := noise(1, fileSize)
	content := slices.Concat(old[:100_000], noise(2, 5_000), old[100_000:400_000], noise(3, 5_000), old[400_000:])
	s := serve(t, honest(content))
	j := makeJob(t, content, true, s.URL)
	j.Local = []chunk.Source{source(old)}
	stats := mustFetch(t, New(Config{}), j, content)
	if stats.Reused+stats.Bytes != int64(len(content)) || stats.Bytes > 200_000 || stats.Bytes != s.sent.Load() {
		t.Errorf("%+v, the server sent %d", stats, s.sent.Load())
	}
	if n := s.requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestNothingTravelsTwice(t *testing.T) {
	content := noise(1, fileSize)
	j := makeJob(t, content, true, serve(t, honest(content)).URL)
	f := New(Config{})
	mustFetch(t, f, j, content)
	j.Bases = nil
	if stats := mustFetch(t, f, j, content); stats != (Stats{Resumed: fileSize}) {
		t.Errorf("%+v, want all of it resumed", stats)
	}
	if err := os.WriteFile(j.Dest, noise(9, fileSize), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.File(t.Context(), j); err == nil {
		t.Error("a damaged file was taken for the right one")
	}
}

// cutting breaks the connection after n bytes of each answer.
func cutting(h http.HandlerFunc, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h(&cut{ResponseWriter: w, left: n}, r)
	}
}

type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	if c.left -= n; c.left == 0 {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// A server that breaks off brings the file all the same, as long as each attempt
// brings something.
func TestBreakingOff(t *testing.T) {
	content := noise(1, fileSize)
	s := serve(t, cutting(honest(content), 100_000))
	j := makeJob(t, content, true, s.URL)
	stats := mustFetch(t, New(Config{}), j, content)
	if stats.Bytes < fileSize || stats.Bytes > 2*fileSize {
		t.Errorf("%d bytes travelled for a file of %d", stats.Bytes, fileSize)
	}
}

// What a call got, the next one has, whatever became of the part file since.
func TestResume(t *testing.T) {
	content := noise(1, fileSize)
	for name, damage := range map[string]func([]byte) []byte{
		"intact":    func(b []byte) []byte { return b },
		"torn":      func(b []byte) []byte { clear(b[10_000:60_000]); return b },
		"truncated": func(b []byte) []byte { return b[:100_000] },
		"longer":    func(b []byte) []byte { return append(b, 1, 2, 3) },
	} {
		var broken *server
		broken = serve(t, func(w http.ResponseWriter, r *http.Request) {
			if broken.requests.Load() > 1 {
				http.NotFound(w, r)
				return
			}
			cutting(honest(content), 300_000)(w, r)
		})
		j, f := makeJob(t, content, true, broken.URL), New(Config{})
		mustFail(t, f, j)
		b, err := os.ReadFile(j.Dest + partSuffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(j.Dest+partSuffix, damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
		j.Bases = []string{serve(t, honest(content)).URL}
		stats := mustFetch(t, f, j, content)
		if stats.Resumed < 50_000 || stats.Resumed > 300_000 || stats.Resumed+stats.Bytes != fileSize {
			t.Errorf("%s: %+v", name, stats)
		}
	}
}

// wrong servers, each alone: nothing comes of them, and no more than the file's
// size is taken from them.
func TestWrongServers(t *testing.T) {
	content := noise(1, fileSize)
	half := content[:fileSize/2]
	endless := func(w http.ResponseWriter, status int) {
		w.WriteHeader(status)
		for block := noise(5, 1<<16); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	partial := func(contentRange string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", strings.NewReplacer("RANGE", strings.TrimPrefix(r.Header.Get("Range"), "bytes=")).Replace(contentRange))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
		}
	}
	for name, handle := range map[string]http.HandlerFunc{
		"not found":        status(404),
		"server error":     status(500),
		"range refused":    status(416),
		"no content":       status(204),
		"other file":       honest(noise(2, fileSize)),
		"shorter file":     honest(content[:fileSize-1]),
		"longer file":      honest(append(slices.Clone(content), 1)),
		"endless":          func(w http.ResponseWriter, _ *http.Request) { endless(w, 200) },
		"endless partial":  partial("bytes RANGE/600000", noise(3, 2*fileSize)),
		"other range":      partial("bytes 0-9/600000", content[:10]),
		"other total":      partial("bytes RANGE/600001", half),
		"no Content-Range": partial("", half),
		"compressed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			honest(content)(w, r)
		},
		"redirects for ever": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"redirects to a file": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"redirects far away": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+"/"+strings.Repeat("x", 50_000), http.StatusFound)
		},
		"encoded at length": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", strings.Repeat("x", 50_000))
			honest(content)(w, r)
		},
		"other range at length": partial(strings.Repeat("x", 50_000), half),
		"breaks off at once":    cutting(honest(content), 1),
		"page instead of 404":   func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<h1>Welcome</h1>") },
	} {
		s := serve(t, handle)
		for _, resumed := range []bool{false, true} {
			j := makeJob(t, content, true, s.URL)
			if resumed { // so that a Range is asked for
				if err := os.WriteFile(j.Dest+partSuffix, half, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			stats, err := mustFail(t, New(Config{}), j)
			if stats.Bytes > fileSize+bufSize {
				t.Errorf("%s: %d bytes were taken", name, stats.Bytes)
			}
			if err != nil && !strings.Contains(err.Error(), s.URL) {
				t.Errorf("%s: the error does not name the server: %v", name, err)
			}
			if err != nil && len(err.Error()) > 3000 {
				t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
			}
		}
	}
}

// Beside any number of wrong servers one honest one suffices.
func TestHonestServerSuffices(t *testing.T) {
	content := noise(1, fileSize)
	bad := serve(t, honest(noise(2, fileSize)))
	j := makeJob(t, content, true, "http://127.0.0.1:1", bad.URL, serve(t, cutting(honest(content), 150_000)).URL, serve(t, honest(content)).URL)
	mustFetch(t, New(Config{}), j, content)
	if n := bad.requests.Load(); n != 1 {
		t.Errorf("the server with wrong data was asked %d times, want once", n)
	}
}

// A server without Range is the last resort, and then brings the whole file once.
func TestServerWithoutRange(t *testing.T) {
	content := noise(1, fileSize)
	ignore := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		honest(content)(w, r)
	})
	other := serve(t, honest(content))
	for _, c := range []struct {
		bases []string
		most  int64
	}{
		{[]string{ignore.URL, other.URL}, fileSize / 2},
		{[]string{ignore.URL}, fileSize},
	} {
		j := makeJob(t, content, true, c.bases...)
		j.Local = []chunk.Source{source(content[:fileSize-100_000])}
		if stats := mustFetch(t, New(Config{}), j, content); stats.Bytes > c.most {
			t.Errorf("%v: %d bytes travelled, want at most %d", c.bases, stats.Bytes, c.most)
		}
	}
}

// A server without Range that brings a little more each time cannot have the file
// sent without end.
func TestServerWithoutRangeThatBreaksOff(t *testing.T) {
	content := noise(1, fileSize)
	var more atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		cutting(honest(content), int(more.Add(50_000)))(w, r)
	})
	f := New(Config{})
	j := makeJob(t, content, true, s.URL)
	if stats, _ := mustFail(t, f, j); stats.Bytes > 4*fileSize || s.requests.Load() > 2*(maxWholes+1) {
		t.Errorf("%d bytes travelled in %d requests", stats.Bytes, s.requests.Load())
	}
	for n := 1; ; n++ { // each call goes on where the one before ended
		_, err := f.File(t.Context(), j)
		if err == nil {
			break
		}
		if n == 10 {
			t.Fatal(err)
		}
	}
}

func TestWrongIndex(t *testing.T) {
	content := noise(1, fileSize)
	s := serve(t, honest(content))
	j := makeJob(t, content, true, s.URL)
	t.Run("of another file", func(t *testing.T) {
		j := j
		j.SHA256 = sha256.Sum256(nil)
		mustFail(t, New(Config{}), j)
		if n := s.requests.Load(); n > 0 {
			t.Errorf("%d requests were made", n)
		}
	})
	t.Run("that lies", func(t *testing.T) {
		other := noise(2, fileSize)
		lie, err := chunk.Make(bytes.NewReader(other))
		if err != nil {
			t.Fatal(err)
		}
		j := j
		j.Index, j.Bases = lie, []string{serve(t, honest(other)).URL}
		j.Index.SHA256 = j.SHA256
		mustFail(t, New(Config{}), j)
		if _, err := os.Stat(j.Dest + partSuffix); !os.IsNotExist(err) {
			t.Errorf("the useless part file is still there (error %v)", err)
		}
	})
}

// A source that lies when it is read again, or cannot be read, costs nothing but
// bytes.
func TestBadSource(t *testing.T) {
	content := noise(1, fileSize)
	j := makeJob(t, content, true, serve(t, honest(content)).URL)
	for name, r := range map[string]io.ReaderAt{
		"broken": brokenAt{},
		"fickle": &fickle{content: content},
	} {
		j.Dest = filepath.Join(t.TempDir(), "root.img")
		j.Local = []chunk.Source{{Name: name, R: r, Size: fileSize}}
		if stats := mustFetch(t, New(Config{}), j, content); stats.Reused > 0 {
			t.Errorf("%s: %+v, want nothing reused", name, stats)
		}
	}
}

type brokenAt struct{}

func (brokenAt) ReadAt([]byte, int64) (int, error) { return 0, errors.New("broken") }

// fickle is right when it is looked at and wrong when it is used.
type fickle struct {
	content []byte
	seen    bool
}

func (f *fickle) ReadAt(b []byte, off int64) (int, error) {
	if f.seen {
		return copy(b, make([]byte, len(b))), nil
	}
	f.seen = off+int64(len(b)) >= int64(len(f.content))
	return bytes.NewReader(f.content).ReadAt(b, off)
}

func TestNoRoom(t *testing.T) {
	content := noise(1, 1000)
	s := serve(t, honest(content))
	j := makeJob(t, content, true, s.URL)
	j.Dest = filepath.Join(t.TempDir(), "no such folder", "root.img")
	mustFail(t, New(Config{}), j)
	if n := s.requests.Load(); n > 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestGet(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metadata/timestamp.json" {
			http.NotFound(w, r)
			return
		}
		for range 10 { // without Content-Length
			io.WriteString(w, "0123456789")
			http.NewResponseController(w).Flush()
		}
	})
	f := New(Config{})
	b, err := f.Get(t.Context(), s.URL+"/metadata/timestamp.json", 100)
	if err != nil || len(b) != 100 {
		t.Errorf("%d bytes, error %v", len(b), err)
	}
	if _, err := f.Get(t.Context(), s.URL+"/metadata/timestamp.json", 99); !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v, want %v", err, ErrTooLong)
	}
	var status *StatusError
	if _, err := f.Get(t.Context(), s.URL+"/metadata/2.root.json", 100); !errors.As(err, &status) || status.Code != 404 {
		t.Errorf("error %v, want a StatusError of 404", err)
	}
}
