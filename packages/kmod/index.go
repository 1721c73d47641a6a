package kmod

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Index returns the files that a loader, ours or kmod's, needs beside the
// modules: modules.dep, modules.alias and modules.softdep, by name. Every
// dependency must be among mods, unless the kernel has it built in.
func Index(mods []Module, builtin func(name string) bool) (map[string][]byte, error) {
	byName := map[string]Module{}
	for _, m := range mods {
		byName[m.Name] = m
	}
	mods = slices.SortedFunc(slices.Values(mods), func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	var dep, alias, soft bytes.Buffer
	for _, m := range mods {
		needs, err := needs(m, byName, builtin)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&dep, "%s:", m.Path)
		for _, n := range needs {
			fmt.Fprintf(&dep, " %s", byName[n].Path)
		}
		dep.WriteByte('\n')
		for _, a := range m.Aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, m.Name)
		}
		writeSoftdep(&soft, m)
	}
	return map[string][]byte{"modules.dep": dep.Bytes(), "modules.alias": alias.Bytes(), "modules.softdep": soft.Bytes()}, nil
}

func writeSoftdep(w *bytes.Buffer, m Module) {
	if len(m.Pre)+len(m.Post) == 0 {
		return
	}
	fmt.Fprintf(w, "softdep %s", m.Name)
	if len(m.Pre) > 0 {
		fmt.Fprintf(w, " pre: %s", strings.Join(m.Pre, " "))
	}
	if len(m.Post) > 0 {
		fmt.Fprintf(w, " post: %s", strings.Join(m.Post, " "))
	}
	w.WriteByte('\n')
}

// needs lists all that a module depends on, directly or not, so that loading
// the list from its end to its start never misses anything.
func needs(m Module, byName map[string]Module, builtin func(string) bool) ([]string, error) {
	var order []string // what is needed first comes first
	seen := map[string]bool{m.Name: true}
	var visit func(m Module) error
	visit = func(m Module) error {
		for _, d := range m.Depends {
			if seen[d] || builtin(d) {
				continue
			}
			seen[d] = true
			dm, ok := byName[d]
			if !ok {
				return fmt.Errorf("kernel module %s: dependency %s is not kept", m.Name, d)
			}
			if err := visit(dm); err != nil {
				return err
			}
			order = append(order, d)
		}
		return nil
	}
	err := visit(m)
	slices.Reverse(order)
	return order, err
}

// Index makes the index for modules of a tree.
func (t *Tree) Index(mods []Module) (map[string][]byte, error) { return Index(mods, t.Builtin) }

// fields calls f with the words of every line that has any and is no comment.
func fields(path string, f func(words []string)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("module index: %w", err)
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		if w := strings.Fields(sc.Text()); len(w) > 0 && !strings.HasPrefix(w[0], "#") {
			f(w)
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("module index %s: %w", filepath.Base(path), err)
	}
	return nil
}
