package repository

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"micromirror/packages/release"
	"micromirror/packages/rollout"
	"micromirror/packages/verity"
)

// bench is a repository with a clock, and the web server that carries it.
type bench struct {
	*Repository
	t     *testing.T
	fleet string
	clock time.Time
	url   string
	first []byte // the root that a node was flashed with
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, fleet: t.TempDir(), clock: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	b.Repository = At(b.fleet)
	b.Now = func() time.Time { return b.clock }
	b.must(b.Init(t.Context()))
	return b.serve()
}

// copied returns an equal one.
func (b *bench) copied() *bench {
	b.t.Helper()
	c := &bench{t: b.t, fleet: b.t.TempDir(), clock: b.clock}
	b.must(os.CopyFS(c.fleet, os.DirFS(b.fleet)))
	c.Repository = At(c.fleet)
	c.Now = func() time.Time { return c.clock }
	return c.serve()
}

func (b *bench) serve() *bench {
	b.t.Helper()
	server := httptest.NewServer(http.FileServer(http.Dir(b.Dir)))
	b.t.Cleanup(server.Close)
	b.url = server.URL
	var err error
	b.first, err = os.ReadFile(b.Root)
	b.must(err)
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// client is a node: it knows the first root, and what it has seen.
type client struct {
	*bench
	dir string
}

func (b *bench) client() *client { return &client{b, b.t.TempDir()} }

func (c *client) refresh() (*updater.Updater, error) {
	cfg, err := config.New(c.url+"/metadata", c.first)
	c.must(err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = c.dir, c.dir
	cfg.RemoteTargetsURL = c.url + "/targets"
	c.must(cfg.SetDefaultFetcherRetry(time.Millisecond, 1))
	u, err := updater.New(cfg)
	c.must(err)
	u.UnsafeSetRefTime(c.clock)
	return u, u.Refresh()
}

// get downloads a target as a node would.
func (c *client) get(target string) (string, error) {
	u, err := c.refresh()
	if err != nil {
		return "", err
	}
	info, err := u.GetTargetInfo(target)
	if err != nil {
		return "", err
	}
	_, data, err := u.DownloadTarget(info, filepath.Join(c.dir, "target"), "")
	return string(data), err
}

func (c *client) want(target, content string) {
	c.t.Helper()
	if got, err := c.get(target); err != nil || got != content {
		c.t.Errorf("%s = %q, %v; want %q", target, got, err, content)
	}
}

// testRelease is a release folder whose content follows from version and seed.
func testRelease(t *testing.T, version, seed string, built time.Time) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{release.KernelFile, release.InitrdFile, release.RootFile, release.LoaderFile, release.PermFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name+" of "+version+seed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := release.Write(dir, release.Release{
		Version: version, Built: built, Loader: release.Loader{Version: "262"}, Hardware: []string{"qemu"},
		Root: release.Root{Verity: verity.Tree{RootHash: strings.Repeat("ab", 32), DataBlocks: 9}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (b *bench) release(version string, days int) {
	b.t.Helper()
	dir := testRelease(b.t, version, "", b.clock.AddDate(0, 0, days))
	_, added, err := b.AddRelease(b.t.Context(), dir)
	if err != nil || !added {
		b.t.Fatalf("add release %s: %v, %v", version, added, err)
	}
}

func (b *bench) rollout(version string, percent int) *rollout.Rollout {
	b.t.Helper()
	r, err := b.SetRollout(b.t.Context(), rollout.Rollout{Version: version, Percent: percent})
	b.must(err)
	return r
}

// keyFiles lists the usable key files of a role.
func (b *bench) keyFiles(role string) []string {
	b.t.Helper()
	status, err := b.Status()
	b.must(err)
	var out []string
	for _, r := range status {
		for _, k := range r.Keys {
			if r.Name == role && k.File != "" {
				out = append(out, k.File)
			}
		}
	}
	return out
}
