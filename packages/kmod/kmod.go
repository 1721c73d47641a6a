// Package kmod does in Go what depmod and modprobe do: at build time it indexes
// the Linux kernel modules that an image keeps, at run time it loads them with
// all that they need.
//
// Promise: the index (modules.dep, modules.alias, modules.softdep) has the
// format of kmod's text files and says the same about the kept modules; Loader
// follows dependencies, soft dependencies, aliases (globs), built-in modules and
// parameters from the kernel's command line. Compressed modules go to the kernel
// as they are (it has CONFIG_MODULE_DECOMPRESS).
//
// Modprobe is the same as a program: the kernel calls it for request_module with
// "-q -- ALIAS" once InstallModprobe has told it where it is.
//
// Files owned: the index beside the modules at build time; none on the node,
// where only /lib/modules/<release>, /sys and /proc are read.
//
// Failure: a module that is missing at build time fails the build. On the node
// nothing panics; an error names the module and what the kernel said.
package kmod

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Module is what a kernel module says about itself in its .modinfo section.
type Module struct {
	Name     string // with underscores, as the kernel calls it
	Path     string // relative to lib/modules/<release>
	Depends  []string
	Aliases  []string
	Pre      []string // soft dependencies to load before
	Post     []string // and after
	Firmware []string // files it may ask for
}

// Name turns a module's file name into the kernel's name for it.
func Name(file string) string {
	base := path.Base(file)
	if i := strings.Index(base, ".ko"); i > 0 {
		base = base[:i]
	}
	return strings.ReplaceAll(base, "-", "_")
}

// Parse reads the .modinfo of an uncompressed module.
func Parse(file string, r io.ReaderAt) (Module, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return Module{}, fmt.Errorf("module %s: %w", file, err)
	}
	s := f.Section(".modinfo")
	if s == nil || s.Type == elf.SHT_NOBITS {
		return Module{}, fmt.Errorf("module %s: no .modinfo section", file)
	}
	if s.Size > maxModule {
		return Module{}, fmt.Errorf("module %s: .modinfo of %d bytes", file, s.Size)
	}
	b, err := s.Data()
	if err != nil {
		return Module{}, fmt.Errorf("module %s: %w", file, err)
	}
	return parseModinfo(file, b), nil
}

// parseModinfo reads the section's strings "key=value", each ended by a NUL.
func parseModinfo(file string, b []byte) Module {
	m := Module{Name: Name(file), Path: file}
	for kv := range bytes.SplitSeq(b, []byte{0}) {
		k, v, _ := strings.Cut(string(kv), "=")
		m.add(k, v)
	}
	return m
}

func (m *Module) add(key, value string) {
	switch key {
	case "depends":
		for d := range strings.SplitSeq(value, ",") {
			if d != "" {
				m.Depends = append(m.Depends, underscores(d))
			}
		}
	case "alias":
		// An alias with a space in it could not be written to the index.
		if w := strings.Fields(value); len(w) == 1 && w[0] == value {
			m.Aliases = append(m.Aliases, value)
		}
	case "firmware":
		m.Firmware = append(m.Firmware, value)
	case "softdep":
		pre, post := splitSoftdep(strings.Fields(value))
		m.Pre, m.Post = append(m.Pre, pre...), append(m.Post, post...)
	}
}

// splitSoftdep reads "pre: a b post: c".
func splitSoftdep(words []string) (pre, post []string) {
	var to *[]string
	for _, w := range words {
		switch {
		case w == "pre:":
			to = &pre
		case w == "post:":
			to = &post
		case to != nil:
			*to = append(*to, w)
		}
	}
	return pre, post
}

// underscores maps - to _ outside of [...] ranges, as kmod does: both are the
// same in a module's name.
func underscores(s string) string {
	b, inRange := []byte(s), false
	for i, c := range b {
		switch {
		case c == '[':
			inRange = true
		case c == ']':
			inRange = false
		case c == '-' && !inRange:
			b[i] = '_'
		}
	}
	return string(b)
}

// Claims lists the modules whose alias tables claim a device, by its modalias.
func Claims(mods []Module, modalias string) []string {
	var names []string
	modalias = underscores(modalias)
	for _, m := range mods {
		if slices.ContainsFunc(m.Aliases, func(a string) bool { return match(underscores(a), modalias) }) {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}
