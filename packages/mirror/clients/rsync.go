package clients

import (
	"context"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"micromirror/packages/mirror/module"
	"micromirror/packages/node"
	rsync "micromirror/packages/rsync/daemon"
)

// serveModules serves the tree by our rsync daemon until the context ends.
func (m *mirrorWay) serveModules(ctx context.Context, config *node.Config, log *slog.Logger) (url string, err error) {
	server, err := rsync.New(rsync.Config{Modules: module.List(config, filepath.Join(m.dir, "mirror"), filepath.Join(m.dir, "state")), Log: log})
	if err != nil {
		return "", err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		if err := server.Serve(ctx, l); err != nil && ctx.Err() == nil {
			log.Error("serving modules", "err", err)
		}
	}()
	return fmt.Sprintf("rsync://%s/%s/", l.Addr(), path), nil
}

// mirrorOn is another mirror that follows this one with rsync: what it has after
// each run must be one version of every archive.
func mirrorOn(dir string, at addresses) (func(context.Context) error, error) {
	got := filepath.Join(dir, "got")
	return func(ctx context.Context) error {
		if err := run(ctx, dir, nil, "rsync", "-a", "--delete", at.rsync, got+"/"); err != nil {
			return err
		}
		return errors.Join(wholeDeb(got), wholeRPM(got))
	}, os.MkdirAll(got, 0o755)
}

// wholeDeb follows the index of the archive for apt.
func wholeDeb(tree string) error {
	release, err := os.ReadFile(filepath.Join(tree, "dists/x/Release"))
	if err != nil {
		return err
	}
	sums := fields(string(release), "SHA256:")
	if len(sums) < 3 {
		return fmt.Errorf("dists/x/Release names nothing: %q", release)
	}
	packages, err := sumOf(tree, "dists/x/"+sums[2], sums[0])
	if err != nil {
		return err
	}
	file, sum := fields(packages, "Filename:"), fields(packages, "\nSHA256:")
	if len(file) == 0 || len(sum) == 0 {
		return fmt.Errorf("dists/x/%s names nothing: %q", sums[2], packages)
	}
	_, err = sumOf(tree, file[0], sum[0])
	return err
}

// fields are the words after a key.
func fields(text, key string) []string {
	_, rest, _ := strings.Cut(text, key)
	return strings.Fields(rest)
}

// wholeRPM follows the index of the archive for dnf to the lists of packages.
func wholeRPM(tree string) error {
	var index struct {
		Data []struct {
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
			Checksum string `xml:"checksum"`
		} `xml:"data"`
	}
	text, err := os.ReadFile(filepath.Join(tree, "rpm/repodata/repomd.xml"))
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(text, &index); err != nil || len(index.Data) == 0 {
		return fmt.Errorf("rpm/repodata/repomd.xml names nothing: %w", err)
	}
	for _, d := range index.Data {
		if _, err := sumOf(tree, "rpm/"+d.Location.Href, d.Checksum); err != nil {
			return err
		}
	}
	return nil
}

// sumOf reads a file that must have a sum.
func sumOf(tree, name, sum string) (string, error) {
	data, err := os.ReadFile(filepath.Join(tree, name))
	if err == nil && fmt.Sprintf("%x", sha256.Sum256(data)) != sum {
		err = fmt.Errorf("error: %s is of another version than its index", name)
	}
	return string(data), err
}
