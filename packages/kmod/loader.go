package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotFound means that neither a module nor an alias of that name exists.
var ErrNotFound = errors.New("no such module")

// Loader loads modules of one /lib/modules/<release>. Not for concurrent use;
// two of them are fine, the kernel sorts that out.
type Loader struct {
	dir, sys string
	paths    map[string]string
	deps     map[string][]string
	pre      map[string][]string
	post     map[string][]string
	builtin  map[string]bool
	aliases  []alias
	params   map[string]string
	done     map[string]error
	tried    map[string]bool // modaliases, by Coldplug
	insert   func(path, params string) error
	loaded   func(name string)
}

type alias struct{ prefix, pattern, module string }

// Config says where a Loader finds things. The zero value is the running system.
type Config struct {
	Root    string // "/" by default: the parent of lib, sys and proc
	Release string // the running kernel's by default

	// Insert hands a module file to the kernel, finit_module(2) by default.
	Insert func(path, params string) error
	// Loaded is told the name of each module that was loaded. May be nil.
	Loaded func(name string)
}

// New reads the index.
func New(c Config) (*Loader, error) {
	if c.Root == "" {
		c.Root = "/"
	}
	if c.Release == "" {
		var u unix.Utsname
		if err := unix.Uname(&u); err != nil {
			return nil, fmt.Errorf("uname: %w", err)
		}
		c.Release = unix.ByteSliceToString(u.Release[:])
	}
	if c.Insert == nil {
		c.Insert = finit
	}
	if c.Loaded == nil {
		c.Loaded = func(string) {}
	}
	l := &Loader{
		dir: filepath.Join(c.Root, "lib/modules", c.Release), sys: filepath.Join(c.Root, "sys"),
		paths: map[string]string{}, deps: map[string][]string{}, pre: map[string][]string{}, post: map[string][]string{},
		builtin: map[string]bool{}, done: map[string]error{}, tried: map[string]bool{},
		insert: c.Insert, loaded: c.Loaded,
	}
	cmdline, _ := os.ReadFile(filepath.Join(c.Root, "proc/cmdline"))
	l.params = parameters(string(cmdline))
	return l, l.readIndex()
}

func (l *Loader) readIndex() error {
	files := []struct {
		name string
		f    func([]string)
	}{
		{"modules.dep", l.addDep},
		{"modules.alias", l.addAlias},
		{"modules.softdep", l.addSoftdep},
		{"modules.builtin", func(w []string) { l.builtin[Name(w[0])] = true }},
	}
	for _, x := range files {
		// Only modules.dep must exist.
		if err := fields(filepath.Join(l.dir, x.name), x.f); err != nil && (x.name == "modules.dep" || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return nil
}

func (l *Loader) addDep(w []string) {
	file := strings.TrimSuffix(w[0], ":")
	if !filepath.IsLocal(file) {
		return
	}
	name := Name(file)
	l.paths[name] = file
	for _, d := range w[1:] {
		l.deps[name] = append(l.deps[name], Name(d))
	}
}

func (l *Loader) addAlias(w []string) {
	if len(w) == 3 && w[0] == "alias" {
		p := underscores(w[1])
		prefix, _, _ := strings.Cut(p, "*")
		if i := strings.IndexAny(prefix, "?["); i >= 0 {
			prefix = prefix[:i]
		}
		l.aliases = append(l.aliases, alias{prefix, p, underscores(w[2])})
	}
}

func (l *Loader) addSoftdep(w []string) {
	if len(w) > 2 && w[0] == "softdep" {
		pre, post := splitSoftdep(w[2:])
		l.pre[underscores(w[1])], l.post[underscores(w[1])] = pre, post
	}
}

// parameters reads "module.parameter=value" from a kernel command line.
func parameters(cmdline string) map[string]string {
	p := map[string]string{}
	for _, w := range strings.Fields(cmdline) {
		key, _, _ := strings.Cut(w, "=")
		if mod, _, ok := strings.Cut(key, "."); ok {
			mod = underscores(mod)
			p[mod] = strings.TrimSpace(p[mod] + " " + w[len(mod)+1:])
		}
	}
	return p
}

// Load loads a module by name, or all modules that have the name as an alias.
func (l *Loader) Load(name string) error {
	n := underscores(name)
	if _, ok := l.paths[n]; ok {
		return l.load(n)
	}
	if l.builtin[n] {
		return nil
	}
	mods := l.lookUp(n)
	if len(mods) == 0 {
		return fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	var errs []error
	for _, m := range mods {
		errs = append(errs, l.load(m))
	}
	return errors.Join(errs...)
}

// lookUp resolves an alias.
func (l *Loader) lookUp(name string) (mods []string) {
	for _, a := range l.aliases {
		if strings.HasPrefix(name, a.prefix) && match(a.pattern, name) {
			mods = append(mods, a.module)
		}
	}
	return mods
}

// load loads one module after what it needs. What it answered once it answers
// again: a module that refused (no such device) is not worth another try.
func (l *Loader) load(name string) (err error) {
	if err, ok := l.done[name]; ok {
		return err
	}
	l.done[name] = nil // ends circles of soft dependencies
	defer func() { l.done[name] = err }()
	file, ok := l.paths[name]
	if !ok {
		if l.builtin[name] {
			return nil
		}
		return fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	if l.live(name) {
		return nil
	}
	l.loadSoft(l.pre[name])
	for i := len(l.deps[name]) - 1; i >= 0; i-- { // the deepest is the last
		if err := l.load(l.deps[name][i]); err != nil {
			return fmt.Errorf("%s needs %w", name, err)
		}
	}
	err = l.insert(filepath.Join(l.dir, file), l.params[name])
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("module %s: %w", name, err)
	}
	l.loaded(name)
	l.loadSoft(l.post[name])
	return nil
}

// loadSoft loads what is good to have; the module itself works without it.
func (l *Loader) loadSoft(names []string) {
	for _, n := range names {
		l.Load(n)
	}
}

// live says whether the kernel has the module already.
func (l *Loader) live(name string) bool {
	b, err := os.ReadFile(filepath.Join(l.sys, "module", name, "initstate"))
	return err == nil && strings.TrimSpace(string(b)) == "live"
}

func finit(path, params string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(path, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	return unix.FinitModule(int(f.Fd()), params, flags)
}
