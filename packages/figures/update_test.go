package figures

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"micromirror/packages/release"
)

func TestLongestTimeWithoutAPage(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		seconds []float64
		want    time.Duration
		bad     bool
	}{
		{seconds: []float64{-900, 0, 1, 9, 2, 9.5, 10}, want: 7 * time.Second}, // out of order, as they come
		{seconds: []float64{-1, 5}, bad: true},
		{bad: true},
	} {
		p := &pages{}
		for _, s := range c.seconds {
			p.at = append(p.at, start.Add(time.Duration(s*float64(time.Second))))
		}
		got, err := p.longest(start)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%v: %v, %v; want %v", c.seconds, got, err, c.want)
		}
	}
}

// Only whole pages count, and asking ends when told to.
func TestWatch(t *testing.T) {
	asked := make(chan struct{}, 100)
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch count.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("half"))
		default:
			w.Write([]byte("page"))
		}
		asked <- struct{}{}
	}))
	defer server.Close()
	p := watch(server.URL)
	for range 4 {
		<-asked
	}
	p.stop()
	answers := int(count.Load())
	if n := len(p.at); n < 1 || n > answers-2 {
		t.Errorf("%d pages of %d answers, want all but two", n, answers)
	}
}

// The go command sees the further file, and the package with it is well-formed.
func TestOverlayChangesOneDaemon(t *testing.T) {
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	list, err := writeOverlay(t.TempDir(), filepath.Join(top, "packages", "httpd", "changed.go"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-overlay="+list, "-json=GoFiles,Error", "./packages/httpd")
	cmd.Dir = top
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ GoFiles []string }
	if err := json.Unmarshal(out, &p); err != nil || !strings.Contains(strings.Join(p.GoFiles, " "), "changed.go") {
		t.Errorf("files %v, error %v", p.GoFiles, err)
	}
}

func TestOnlyWhatIsNewTravels(t *testing.T) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	for n, dir := range dirs {
		for name, content := range map[string]string{release.KernelFile: "kernel", release.InitrdFile: "initrd", release.RootFile: "root" + strings.Repeat("!", n)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	const index = 88 // bytes of an index of one chunk
	for _, c := range []struct {
		from, to   int
		bytes, all int64
	}{{0, 0, 3 * index, 16}, {0, 1, 3*index + 5, 17}} {
		bytes, all, err := travel(t.Context(), dirs[c.from], dirs[c.to])
		if err != nil || bytes != c.bytes || all != c.all {
			t.Errorf("%d to %d: %d of %d, %v; want %d of %d", c.from, c.to, bytes, all, err, c.bytes, c.all)
		}
	}
	if _, _, err := travel(t.Context(), dirs[0], t.TempDir()); err == nil {
		t.Error("an empty release is no error")
	}
}

func TestDownloadHasAnAim(t *testing.T) {
	got := downloadFigures(3<<20, 30<<20)
	if got[0].Value != 3 || got[1].Value != 10 || got[1].Aim != 15 {
		t.Errorf("%+v", got)
	}
}
