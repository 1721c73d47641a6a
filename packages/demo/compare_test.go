package demo_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/demo"
)

// same checks that two trees differ in n ways.
func same(t *testing.T, want, got string, n int) {
	t.Helper()
	a, err1 := demo.Scan(want)
	b, err2 := demo.Scan(got)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if diff := demo.Diff(a, b, nil); len(diff) != n {
		t.Errorf("%d differences, want %d:\n%s", len(diff), n, strings.Join(diff, "\n"))
	}
}

func TestDiff(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for _, tree := range []string{one, two} {
		for _, name := range []string{"same", "content", "mode", "time", "linked", "only-" + filepath.Base(tree)} {
			path := filepath.Join(tree, name)
			err := errors.Join(os.MkdirAll(tree, 0o755), os.WriteFile(path, []byte(name), 0o644), os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	same(t, one, one, 0)
	same(t, one, two, 2)
	err := errors.Join(
		os.WriteFile(filepath.Join(two, "content"), []byte("CONTENT"), 0o644), os.Chtimes(filepath.Join(two, "content"), time.Unix(1, 0), time.Unix(1, 0)),
		os.Chmod(filepath.Join(two, "mode"), 0o600), os.Chtimes(filepath.Join(two, "time"), time.Unix(2, 0), time.Unix(2, 0)),
		os.Link(filepath.Join(two, "linked"), filepath.Join(two, "linked-2")), os.Symlink("same", filepath.Join(two, "link")))
	if err != nil {
		t.Fatal(err)
	}
	same(t, one, two, 8) // linked is one of a group now, linked-2 and link are new
}

func TestDiffHTTP(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"plain", "a b%20\xff?", "secret", "wrong"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(dir, "secret"), 0o640), os.Symlink("nowhere", filepath.Join(dir, "broken"))); err != nil {
		t.Fatal(err)
	}
	files := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(filepath.Join(dir, r.URL.Path))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil && !st.IsDir() {
			http.ServeContent(w, r, "", st.ModTime(), f)
		}
	})
	good := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		files.ServeHTTP(w, r)
	}
	bad := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wrong" {
			w.Write([]byte("WRONG"))
			return
		}
		files.ServeHTTP(w, r) // and serves the secret
	}
	for want, handler := range []http.HandlerFunc{0: good, 2: bad} {
		if handler == nil {
			continue
		}
		web := httptest.NewServer(handler)
		diff, err := demo.DiffHTTP(t.Context(), dir, web.URL)
		web.Close()
		if err != nil || len(diff) != want {
			t.Errorf("%d differences, want %d: %q, %v", len(diff), want, diff, err)
		}
	}
}
