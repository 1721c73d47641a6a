package kmod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sync/errgroup"
)

// maxModule bounds what a module may unpack to; the largest of Debian's, amdgpu,
// is a third of it.
const maxModule = 64 << 20

// Tree is a folder lib/modules/<release> as a kernel package brings it: modules,
// and modules.builtin with the names of those that are part of the kernel.
type Tree struct {
	Dir     string
	paths   map[string]string // name → path relative to Dir
	builtin map[string]bool
}

// OpenTree lists a tree. It reads no module yet: unpacking xz is slow in Go.
func OpenTree(dir string) (*Tree, error) {
	t := &Tree{Dir: dir, paths: map[string]string{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".ko") {
			rel, _ := filepath.Rel(dir, p)
			t.paths[Name(rel)] = rel
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	err = fields(filepath.Join(dir, "modules.builtin"), func(f []string) { t.builtin[Name(f[0])] = true })
	return t, err
}

// Closure returns the named modules and everything they depend on, softly or
// not, sorted by path. Built-in modules need no file. A soft dependency that does
// not exist is left out; anything else that does not exist is an error.
func (t *Tree) Closure(ctx context.Context, names []string) ([]Module, error) {
	var mods []Module
	seen := map[string]bool{}
	wave, missing := t.pick(names, seen)
	if len(missing) > 0 {
		return nil, fmt.Errorf("kernel modules: this kernel has no %s", strings.Join(missing, ", "))
	}
	for len(wave) > 0 {
		parsed, err := t.parse(ctx, wave)
		if err != nil {
			return nil, err
		}
		mods = append(mods, parsed...)
		wave = nil
		for _, m := range parsed {
			hard, missing := t.pick(m.Depends, seen)
			if len(missing) > 0 {
				return nil, fmt.Errorf("kernel module %s: dependency %s is missing", m.Name, strings.Join(missing, ", "))
			}
			soft, _ := t.pick(slices.Concat(m.Pre, m.Post), seen)
			wave = slices.Concat(wave, hard, soft)
		}
	}
	slices.SortFunc(mods, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return mods, nil
}

// pick returns the paths of modules not seen before, and the names unknown.
func (t *Tree) pick(names []string, seen map[string]bool) (paths, missing []string) {
	for _, n := range names {
		n = underscores(n)
		p, ok := t.paths[n]
		switch {
		case seen[n] || t.builtin[n]:
		case ok:
			seen[n] = true
			paths = append(paths, p)
		default:
			missing = append(missing, n)
		}
	}
	return paths, missing
}

func (t *Tree) parse(ctx context.Context, paths []string) ([]Module, error) {
	mods := make([]Module, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range paths {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			b, err := t.Read(p)
			if err != nil {
				return err
			}
			mods[i], err = Parse(p, bytes.NewReader(b))
			return err
		})
	}
	return mods, g.Wait()
}

// Read returns a module's file, uncompressed.
func (t *Tree) Read(path string) ([]byte, error) {
	f, err := os.Open(filepath.Join(t.Dir, path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := decompress(path, f)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(b) > maxModule {
		err = errors.New("unreasonably large")
	}
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	return b, nil
}

// decompress undoes the compressions that Debian uses or may come to use.
func decompress(path string, r io.Reader) (io.Reader, error) {
	switch filepath.Ext(path) {
	case ".ko":
		return r, nil
	case ".xz":
		return xz.NewReader(r)
	case ".zst":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return nil, errors.New("unknown compression")
}

// Builtin tells whether a module is part of the kernel.
func (t *Tree) Builtin(name string) bool { return t.builtin[underscores(name)] }
