// Package initramfs builds the file that the boot loader gives to the kernel as
// its first root file system: /init, the modules needed to reach the disk, and
// further files, such as what checks /perm.
//
// Promise: the same input gives the same bytes. Modules are stored uncompressed,
// because one zstd over all of them is smaller and faster than each by itself.
//
// Files owned: Spec.Out, replaced as a whole when all is well.
//
// Failure: anything missing (a module, /init) fails the build by name; the old
// file stays.
package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"

	"micromirror/packages/kmod"
)

// Spec says what goes in.
type Spec struct {
	Out       string   // file to write
	Init      string   // static program: cmd/initrd
	ModuleDir string   // lib/modules/<release> of the kernel: kernel.Kernel.ModuleDir
	Modules   []string // what these depend on comes along
	// Files are further ones, by name in it; a program stays one.
	Files map[string]string
	// Early are files, by name, of an uncompressed archive in front: microcode,
	// which the kernel takes before anything else.
	Early map[string][]byte
}

// Result says what came out.
type Result struct {
	Size    int64 // of the file
	Raw     int64 // before compression
	Modules []string
}

// Build writes the initramfs.
func Build(ctx context.Context, s Spec) (Result, error) {
	files, mods, err := s.content(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("initramfs: %w", err)
	}
	r := Result{}
	for _, m := range mods {
		r.Modules = append(r.Modules, m.Name)
	}
	for _, f := range files {
		r.Raw += int64(len(f.data))
	}
	tmp := s.Out + ".tmp"
	front, err := early(s.Early)
	if err != nil {
		return Result{}, fmt.Errorf("initramfs: %w", err)
	}
	if r.Size, err = write(tmp, front, files); err != nil {
		return Result{}, errors.Join(fmt.Errorf("initramfs %s: %w", s.Out, err), os.Remove(tmp))
	}
	if err := os.Rename(tmp, s.Out); err != nil {
		return Result{}, fmt.Errorf("initramfs: %w", err)
	}
	return r, nil
}

// file is a regular file of the initramfs.
type file struct {
	data []byte
	mode uint64
}

// content gathers the files by path, without the leading slash.
func (s Spec) content(ctx context.Context) (map[string]file, []kmod.Module, error) {
	files := map[string]file{}
	for to, from := range s.Files {
		if err := addFile(files, to, from); err != nil {
			return nil, nil, err
		}
	}
	if err := addFile(files, "init", s.Init); err != nil {
		return nil, nil, err
	}
	tree, err := kmod.OpenTree(s.ModuleDir)
	if err != nil {
		return nil, nil, err
	}
	mods, err := tree.Closure(ctx, s.Modules)
	if err != nil {
		return nil, nil, err
	}
	return files, mods, addModules(files, tree, mods)
}

func addFile(files map[string]file, to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	st, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	mode := uint64(0o644)
	if st.Mode()&0o111 != 0 {
		mode = 0o755
	}
	files[strings.TrimPrefix(to, "/")] = file{b, mode}
	return nil
}

func addModules(files map[string]file, tree *kmod.Tree, mods []kmod.Module) error {
	dir := path.Join("lib/modules", filepath.Base(tree.Dir))
	for i, m := range mods {
		b, err := tree.Read(m.Path)
		if err != nil {
			return err
		}
		mods[i].Path = strings.TrimSuffix(m.Path, path.Ext(m.Path))
		if path.Ext(m.Path) == ".ko" {
			mods[i].Path = m.Path
		}
		files[path.Join(dir, mods[i].Path)] = file{b, 0o644}
	}
	index, err := tree.Index(mods)
	if err != nil {
		return err
	}
	if index["modules.builtin"], err = os.ReadFile(filepath.Join(tree.Dir, "modules.builtin")); err != nil {
		return err
	}
	for name, b := range index {
		files[path.Join(dir, name)] = file{b, 0o644}
	}
	return nil
}

func write(out string, front []byte, files map[string]file) (size int64, err error) {
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(front); err != nil {
		return 0, err
	}
	// One encoder only: the output must not depend on the number of cores.
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return 0, err
	}
	if err := archive(z, files); err != nil {
		return 0, err
	}
	if err := z.Close(); err != nil {
		return 0, err
	}
	return f.Seek(0, io.SeekCurrent)
}

// archive writes the cpio: directories first, parents before children.
func archive(w io.Writer, files map[string]file) error {
	dirs := map[string]bool{"dev": true, "proc": true, "sys": true}
	for name := range files {
		for d := path.Dir(name); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	var records []cpio.Record
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		records = append(records, cpio.Directory(d, 0o755))
	}
	// The kernel gives /init this console before devtmpfs is mounted.
	records = append(records, cpio.CharDev("dev/console", 0o600, 5, 1), cpio.CharDev("dev/null", 0o666, 1, 3))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		records = append(records, cpio.StaticFile(name, string(files[name].data), files[name].mode))
	}
	rw := cpio.Newc.Writer(w)
	for _, r := range records {
		if err := rw.WriteRecord(cpio.MakeReproducible(r)); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return cpio.WriteTrailer(rw)
}
