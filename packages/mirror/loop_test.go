package mirror

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"micromirror/packages/project"
)

// archiver is an upstream that brings out one version after the other, as a real
// archive does: packages first, indexes, then the top index; old packages and
// by-hash files go some versions later. It is deliberately not in step with the
// mirror.
type archiver struct {
	t   testing.TB
	dir string
}

const (
	keepVersions     = 4
	roundsPerVersion = 60
)

func (a *archiver) write(name, content string) {
	path := filepath.Join(a.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path+".new", []byte(content), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		a.t.Error(err)
	}
}

func (a *archiver) release(n int) {
	deb := func(n int) (name, content string) {
		return fmt.Sprintf("pool/p_%d.deb", n), strings.Repeat(fmt.Sprintf("version %d\n", n), 50+n%7)
	}
	name, content := deb(n)
	a.write(name, content)
	a.write(fmt.Sprintf("rpm/p-%d.rpm", n), content)
	packages := fmt.Sprintf("Package: p\nVersion: %d\nFilename: %s\nSize: %d\nSHA256: %x\n", n, name, len(content), sha256.Sum256([]byte(content)))
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(packages)))
	a.write("dists/x/main/by-hash/SHA256/"+sum, packages)
	primary := gzipped(fmt.Sprintf(`<m><package><size package="%d"/><location href="p-%d.rpm"/></package></m>`, len(content), n))
	psum := fmt.Sprintf("%x", sha256.Sum256([]byte(primary)))
	a.write("rpm/repodata/"+psum+"-primary.xml.gz", primary)
	a.write("dists/x/main/Packages", packages)
	a.write("dists/x/InRelease", fmt.Sprintf("Version: %d\nAcquire-By-Hash: yes\nSHA256:\n %s %d main/Packages\n", n, sum, len(packages)))
	a.write("rpm/repodata/repomd.xml", fmt.Sprintf(
		`<repomd><data type="primary"><checksum type="sha256">%s</checksum><location href="repodata/%s-primary.xml.gz"/><size>%d</size></data></repomd>`,
		psum, psum, len(primary)))
	if old := n - keepVersions; old > 0 {
		name, _ := deb(old)
		os.Remove(filepath.Join(a.dir, name))
		os.Remove(filepath.Join(a.dir, fmt.Sprintf("rpm/p-%d.rpm", old)))
	}
}

func gzipped(s string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

// clients are loops that use the served tree as apt and dnf do.
type clients struct {
	url             string
	rounds, straddl atomic.Int64 // straddl: apt without by-hash caught between two versions
}

func (c *clients) get(name string) (string, error) {
	r, err := http.Get(c.url + "/" + name)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", name, r.Status)
	}
	return string(data), err
}

// file gets a file and checks its sum.
func (c *clients) file(name, sum string) (string, error) {
	text, err := c.get(name)
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(text))); err == nil && got != sum {
		err = fmt.Errorf("%s: wrong sum", name)
	}
	return text, err
}

func after(text, key string) string {
	_, rest, _ := strings.Cut(text, key)
	return rest
}

func (c *clients) apt(byHash bool) error {
	release, err := c.get("dists/x/InRelease")
	if err != nil {
		return err
	}
	sum := strings.Fields(after(release, "SHA256:"))[0]
	name := "dists/x/main/Packages"
	if byHash {
		name = "dists/x/main/by-hash/SHA256/" + sum
	}
	packages, err := c.file(name, sum)
	if err != nil && !byHash {
		c.straddl.Add(1)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.file(strings.Fields(after(packages, "Filename:"))[0], strings.Fields(after(packages, "\nSHA256:"))[0])
	return err
}

func (c *clients) dnf() error {
	repomd, err := c.get("rpm/repodata/repomd.xml")
	if err != nil {
		return err
	}
	sum := strings.Split(after(repomd, `"sha256">`), "<")[0]
	packed, err := c.file("rpm/repodata/"+sum+"-primary.xml.gz", sum)
	if err != nil {
		return err
	}
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		return err
	}
	primary, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	_, err = c.get("rpm/" + strings.Split(after(string(primary), `href="`), `"`)[0])
	return err
}

// TestClientsNeverFail lets clients work with the mirror while upstream brings
// out two hundred versions and the mirror runs as often as it can.
func TestClientsNeverFail(t *testing.T) {
	w, _ := peerWorld(t, project.Project{Kind: "apt", Index: []string{"dists/**", "repodata/**"}, Top: []string{"InRelease", "repomd.xml"}}, "keep: x")
	a := &archiver{t: t, dir: w.upstream.Dir}
	a.release(1)
	w.job.Grace, w.job.Attempts = time.Hour, 1
	w.job.Now = time.Now
	w.mustRun()
	server := httptest.NewServer(http.FileServer(http.Dir(w.job.Tree)))
	defer server.Close()
	c := &clients{url: server.URL}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	next := make(chan struct{}, 1)
	for _, round := range []func() error{func() error { return c.apt(true) }, func() error { return c.apt(false) }, c.dnf} {
		group.Go(func() {
			for ctx.Err() == nil {
				if err := round(); err != nil && ctx.Err() == nil {
					t.Errorf("client failed: %v", err)
				}
				if c.rounds.Add(1)%roundsPerVersion == 0 {
					select {
					case next <- struct{}{}:
					default:
					}
				}
			}
		})
	}
	versions := 1
	group.Go(func() {
		for versions < 200 {
			select {
			case <-next:
				versions++
				a.release(versions)
			case <-ctx.Done():
				return
			}
		}
	})
	published, held := 0, 0
	for done := false; !done; {
		r, err := w.run()
		switch {
		case errors.Is(err, ErrPart), errors.Is(err, errMoving):
			held++
		case err != nil:
			t.Fatal(err)
		}
		if r.Published {
			published++
		}
		data, _ := os.ReadFile(filepath.Join(w.job.Tree, "dists/x/InRelease"))
		done = strings.HasPrefix(string(data), "Version: 200\n") && err == nil
	}
	cancel()
	group.Wait()
	t.Logf("%d client rounds, %d runs published, %d held back, %d times apt without by-hash was caught between two versions",
		c.rounds.Load(), published, held, c.straddl.Load())
}
