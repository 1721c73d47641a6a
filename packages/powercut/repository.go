package powercut

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"micromirror/packages/release"
	"micromirror/packages/repository"
	"micromirror/packages/scenario"
)

// hurry is what a workload orders of a node: it asks for updates often and
// believes in a new release sooner.
const hurry = "mm.fault=update-hurry,brief-proof"

// channel is an update repository with its web server. It stays in its folder, and
// the server at its port, because the image of a recording names it.
type channel struct {
	office   *scenario.Office
	releases [2]string // folders: what the node is born with, and the next one
	server   *http.Server
	done     chan error
	open     atomic.Bool // before, the server refuses to serve
}

// openChannel opens the channel in dir, or makes it anew if it was made from
// another release. Close it.
func openChannel(ctx context.Context, dir string) (*channel, error) {
	from, err := scenario.Faults.Dir()
	if err != nil {
		return nil, err
	}
	made, err := os.ReadFile(filepath.Join(from, release.FileName))
	if err != nil {
		return nil, err
	}
	c := &channel{done: make(chan error, 1), office: &scenario.Office{Dir: filepath.Join(dir, "fleet")}}
	c.office.Repository = repository.At(c.office.Dir)
	for n := range c.releases {
		c.releases[n] = filepath.Join(dir, fmt.Sprintf("release-%d", n))
	}
	stamp := filepath.Join(dir, "made-from")
	if was, err := os.ReadFile(stamp); err != nil || string(was) != sum(made) {
		if err := c.fill(ctx, dir, from); err != nil {
			return nil, err
		}
		if err := os.WriteFile(stamp, []byte(sum(made)), 0o644); err != nil {
			return nil, err
		}
	}
	// Metadata from an earlier day may have expired.
	if err := c.office.Repository.Renew(ctx); err != nil {
		return nil, err
	}
	return c, c.serve(filepath.Join(dir, "address"))
}

// fill makes two releases of a built one, and a repository without a decision.
func (c *channel) fill(ctx context.Context, dir, from string) error {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(c.office.Dir, 0o755)); err != nil {
		return err
	}
	for n, to := range c.releases {
		err := scenario.Variant(from, to, n, func(_ string, r *release.Release) error {
			r.Options += " " + hurry
			return nil
		})
		if err != nil {
			return err
		}
	}
	return c.office.Repository.Init(ctx)
}

// serve listens at the address in the file, or at a new one that it puts there.
func (c *channel) serve(file string) error {
	address, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		address, err = []byte("127.0.0.1:0"), nil
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", string(address))
	if err != nil {
		return fmt.Errorf("serve the update repository where the images expect it: %w; end what listens there, or remove %s to begin anew", err, filepath.Dir(file))
	}
	if err := os.WriteFile(file, []byte(l.Addr().String()), 0o644); err != nil {
		return errors.Join(err, l.Close())
	}
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	c.office.URL = "http://10.0.2.2:" + port + "/"
	files := http.FileServer(http.Dir(c.office.Repository.Dir))
	c.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.open.Load() {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		files.ServeHTTP(w, r)
	})}
	go func() { c.done <- c.server.Serve(l) }()
	return nil
}

// Close stops the web server.
func (c *channel) Close() error {
	err := c.server.Close()
	if served := <-c.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
