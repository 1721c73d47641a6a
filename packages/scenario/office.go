package scenario

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"micromirror/packages/release"
	"micromirror/packages/repository"
	"micromirror/packages/rollout"
	"micromirror/packages/verity"
)

// Office is a maintainer's desk: a fleet folder with an update repository, which
// a web server of this computer carries to the machines.
type Office struct {
	Dir        string
	URL        string // as a machine sees it
	Repository *repository.Repository

	server *http.Server
	done   chan error
}

// OpenOffice makes keys and an empty repository in dir. Close it.
func OpenOffice(ctx context.Context, dir string) (*Office, error) {
	o := &Office{Dir: dir, Repository: repository.At(dir), done: make(chan error, 1)}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := o.Repository.Init(ctx); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o.URL = fmt.Sprintf("http://10.0.2.2:%d/", l.Addr().(*net.TCPAddr).Port)
	o.server = &http.Server{Handler: http.FileServer(http.Dir(o.Repository.Dir)), ReadHeaderTimeout: time.Minute}
	go func() { o.done <- o.server.Serve(l) }()
	return o, nil
}

// Close stops the web server.
func (o *Office) Close() error {
	err := o.server.Close()
	if served := <-o.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// Offer publishes a release and decides that the demo node shall run it.
func (o *Office) Offer(ctx context.Context, dir string, emergency bool) error {
	rel, _, err := o.Repository.AddRelease(ctx, dir)
	if err != nil {
		return err
	}
	_, err = o.Repository.SetRollout(ctx, rollout.Rollout{Version: rel.Version, Canaries: []string{"demo"}, Soak: "1h", Emergency: emergency})
	return err
}

// Variant makes another release of a built one in dir: the n-th, with its own
// version, changed by edit (which may be nil) before sizes and hashes are taken.
func Variant(from, dir string, n int, edit func(dir string, r *release.Release) error) error {
	r, err := release.Read(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{release.KernelFile, release.InitrdFile, release.RootFile, release.LoaderFile, release.PermFile} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if name == release.RootFile {
			data = data[:r.Root.Verity.DataBlocks*verity.BlockSize]
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	old := r.Version
	r.Version = fmt.Sprintf("%s%02d", old[:len(old)-2], n)
	r.Built = r.Built.Add(time.Duration(n) * time.Minute)
	if err := rename(filepath.Join(dir, release.RootFile), old, r.Version); err != nil {
		return err
	}
	if edit != nil {
		if err := edit(dir, r); err != nil {
			return err
		}
	}
	if r.Root.Verity, err = verity.Append(filepath.Join(dir, release.RootFile)); err != nil {
		return err
	}
	return release.Write(dir, *r)
}

// rename writes another version of the same length into a root image, which
// holds its version file as it is.
func rename(root, old, version string) error {
	data, err := os.ReadFile(root)
	if err != nil {
		return err
	}
	was, now := `"version": "`+old+`"`, `"version": "`+version+`"`
	text := string(data)
	if strings.Count(text, was) != 1 {
		was, now = strings.Replace(was, ": ", ":", 1), strings.Replace(now, ": ", ":", 1)
	}
	if strings.Count(text, was) != 1 {
		return fmt.Errorf("%s: version %s is there %d times, want once", root, old, strings.Count(text, was))
	}
	return os.WriteFile(root, []byte(strings.Replace(text, was, now, 1)), 0o644)
}
