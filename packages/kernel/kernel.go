// Package kernel is what gokrazy calls the KernelPackage: gok takes vmlinuz and
// lib/modules for the image from this package's folder. Fill puts them there,
// out of an unpacked Debian kernel package, with only the modules that are asked
// for and what these depend on.
//
// Promise: afterwards the folder holds exactly one release. Nothing binary is
// committed; both names are in .gitignore. Filling again from the same package
// with the same modules does nothing.
//
// Files owned: vmlinuz, lib/modules/<release>/ and lib/kernel.json, the record
// of what was filled in, below the folder given.
//
// Failure: a module that the kernel does not have fails the fill by name. The
// record is removed first and written last, so that half a fill is never taken
// for a whole one.
package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/durable"
	"micromirror/packages/kmod"
)

// Kernel is a filled folder.
type Kernel struct {
	Dir     string        `json:"-"`
	Release string        `json:"release"`
	Modules []kmod.Module `json:"modules"`
	Key     string        `json:"key"` // of the package and modules it was filled from
}

// Vmlinuz is the kernel's file.
func (k *Kernel) Vmlinuz() string { return filepath.Join(k.Dir, "vmlinuz") }

// ModuleDir is the folder with modules and index.
func (k *Kernel) ModuleDir() string { return filepath.Join(k.Dir, "lib/modules", k.Release) }

// Fill fills dst from deb, the folder that Debian's kernel package was unpacked
// to (see deb.Package.Unpack), with the named modules.
func Fill(ctx context.Context, dst, deb string, modules []string) (*Kernel, error) {
	src, err := sourceTree(deb)
	if err != nil {
		return nil, err
	}
	release := filepath.Base(src)
	key := fillKey(deb, release, modules)
	record := filepath.Join(dst, "lib", "kernel.json")
	if k, err := Open(dst); err == nil && key != "" && k.Key == key {
		return k, nil
	}
	if err := os.RemoveAll(filepath.Dir(record)); err != nil {
		return nil, fmt.Errorf("fill kernel: %w", err)
	}
	tree, err := kmod.OpenTree(src)
	if err != nil {
		return nil, fmt.Errorf("fill kernel: %w", err)
	}
	mods, err := tree.Closure(ctx, modules)
	if err != nil {
		return nil, fmt.Errorf("fill kernel: %w", err)
	}
	k := &Kernel{Dir: dst, Release: release, Modules: mods, Key: key}
	if err := k.copy(deb, tree); err != nil {
		return nil, fmt.Errorf("fill kernel: %w", err)
	}
	b, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return nil, err
	}
	return k, durable.WriteFile(record, append(b, '\n'), 0o644)
}

// Open reads a filled folder's record.
func Open(dir string) (*Kernel, error) {
	b, err := os.ReadFile(filepath.Join(dir, "lib", "kernel.json"))
	if err != nil {
		return nil, fmt.Errorf("kernel folder %s is not filled: %w", dir, err)
	}
	k := &Kernel{Dir: dir}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, fmt.Errorf("kernel folder %s: %w", dir, err)
	}
	return k, nil
}

// SourceTree finds the modules in an unpacked kernel package.
func SourceTree(deb string) (*kmod.Tree, error) {
	dir, err := sourceTree(deb)
	if err != nil {
		return nil, err
	}
	return kmod.OpenTree(dir)
}

// sourceTree copes with Debian having moved /lib to /usr/lib.
func sourceTree(deb string) (string, error) {
	for _, pattern := range []string{"usr/lib/modules/*", "lib/modules/*"} {
		dirs, err := filepath.Glob(filepath.Join(deb, pattern))
		if err != nil {
			return "", err
		}
		if len(dirs) == 1 {
			return dirs[0], nil
		}
	}
	return "", fmt.Errorf("kernel package in %s: want exactly one folder lib/modules/<release>", deb)
}

// fillKey identifies a fill, or is empty if the package is not identified.
func fillKey(deb, release string, modules []string) string {
	mark, err := os.ReadFile(filepath.Clean(deb) + ".sha256")
	if err != nil {
		return ""
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(modules)))
	return fmt.Sprintf("%x", sha256.Sum256([]byte(string(mark)+release+"\n"+strings.Join(sorted, "\n"))))
}

func (k *Kernel) copy(deb string, tree *kmod.Tree) error {
	if err := os.MkdirAll(k.ModuleDir(), 0o755); err != nil {
		return err
	}
	if err := copyFile(k.Vmlinuz(), filepath.Join(deb, "boot", "vmlinuz-"+k.Release)); err != nil {
		return err
	}
	for _, m := range k.Modules {
		if err := copyFile(filepath.Join(k.ModuleDir(), m.Path), filepath.Join(tree.Dir, m.Path)); err != nil {
			return err
		}
	}
	index, err := tree.Index(k.Modules)
	if err != nil {
		return err
	}
	if index["modules.builtin"], err = os.ReadFile(filepath.Join(tree.Dir, "modules.builtin")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(index)) {
		if err := os.WriteFile(filepath.Join(k.ModuleDir(), name), index[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("copy %s: %w", src, err)
	}
	return out.Close()
}
