// Package demo makes and serves a small but real upstream: what the demo shows
// and the tests mirror.
//
// Promise: Build leaves three trees below <dir>/upstream, each complete or not
// there:
//
//   - demo-debian: a signed Debian archive of more than twenty packages fetched
//     from Debian by apt, with Release, InRelease, Packages, by-hash, and one
//     package of our own that Update replaces by its next version;
//   - demo-rpm: an RPM repository of freshly built packages, repomd.xml signed;
//   - demo-files: hard links, symlinks, odd names, old times, an unreadable file
//     and one file of 1 GiB, the same bytes each time.
//
// A tree that is there is not made again, so a later Build needs no network. The
// signing key is made for the purpose and worth nothing; its public half is
// <dir>/key/public.asc and lies in both repositories.
//
// Serve offers the trees as rsync modules from a real rsync daemon on a port of
// 127.0.0.1, one child process a connection; all end with the server or with
// this process. Compare functions tell in which way a mirror differs.
//
// Files owned: the folder given. Root is not needed.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The modules, which are also the names of the trees.
const (
	Debian = "demo-debian"
	RPM    = "demo-rpm"
	Files  = "demo-files"
)

// Modules lists the modules in the order in which they are made.
func Modules() []string { return []string{Debian, RPM, Files} }

// Progress is how far a tree is: Done of Total, in percent of its download or
// bytes of its large file. Total 0 means that it cannot be known.
type Progress struct {
	Module      string
	Step        string
	Done, Total int64
}

// Tree is the folder of a module.
func Tree(dir, module string) string { return filepath.Join(dir, "upstream", module) }

// PublicKey is the file that clients check signatures with.
func PublicKey(dir string) string { return filepath.Join(dir, "key", "public.asc") }

// Build makes the trees that are not there yet. progress may be nil.
func Build(ctx context.Context, dir string, progress func(Progress)) error {
	if progress == nil {
		progress = func(Progress) {}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("demo upstream: %w", err)
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return fmt.Errorf("demo upstream: %w", err)
	}
	defer unlock()
	b := &builder{dir: dir, progress: progress}
	if err := b.makeKey(ctx); err != nil {
		return fmt.Errorf("demo upstream: make key: %w", err)
	}
	for _, tree := range []struct {
		module string
		fill   func(context.Context, string) error
	}{{Debian, b.fillDebian}, {RPM, b.fillRPM}, {Files, b.fillFiles}} {
		if err := b.make(ctx, tree.module, tree.fill); err != nil {
			return fmt.Errorf("demo upstream: %s: %w", tree.module, err)
		}
	}
	return nil
}

// lock keeps processes apart that build the same folder.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for the other build of %s: %w", dir, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Clone copies a built upstream from one folder to another, so that it can be
// changed. The large file is shared.
func Clone(ctx context.Context, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return fmt.Errorf("clone demo upstream: %w", err)
	}
	_, err := run(ctx, "", "rsync", "-aH", "--exclude=/cache", "--exclude=/.lock", "--exclude=/rsyncd.*", "--exclude=/upstream/"+Files+"/"+LargeFile, from+"/", to+"/")
	if err == nil {
		err = os.Link(filepath.Join(Tree(from, Files), LargeFile), filepath.Join(Tree(to, Files), LargeFile))
	}
	if err != nil {
		return fmt.Errorf("clone demo upstream: %w", err)
	}
	return nil
}

type builder struct {
	dir      string
	progress func(Progress)
}

// recipe is the number of the way in which trees are made. A tree of another
// number is made anew.
const recipe = "2"

// make fills a tree aside and puts it in place when it is complete.
func (b *builder) make(ctx context.Context, module string, fill func(context.Context, string) error) error {
	tree, stamp := Tree(b.dir, module), filepath.Join(b.dir, "upstream", "."+module+".recipe")
	if got, err := os.ReadFile(stamp); err == nil && string(got) == recipe {
		return nil
	}
	aside := filepath.Join(b.dir, "upstream", "."+module+".new")
	if err := errors.Join(removeAll(aside), removeAll(tree), os.MkdirAll(aside, 0o755)); err != nil {
		return err
	}
	if err := fill(ctx, aside); err != nil {
		return errors.Join(err, removeAll(aside))
	}
	return errors.Join(os.Rename(aside, tree), os.WriteFile(stamp, []byte(recipe), 0o644))
}

// removeAll removes a tree even if folders in it are not writable.
func removeAll(path string) error {
	filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(p, 0o755) // what this cannot do, RemoveAll reports
		}
		return nil
	})
	return os.RemoveAll(path)
}

// run runs a tool in dir; its error carries what the tool said.
func run(ctx context.Context, dir string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(said.String()))
	}
	return out.String(), nil
}

// writeFile writes a file with mode and time, making its folder.
func writeFile(path string, content []byte, mode fs.FileMode, mtime time.Time) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	return errors.Join(os.Chmod(path, mode), os.Chtimes(path, mtime, mtime))
}
