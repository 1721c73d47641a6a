package kmod

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// system is a root folder with index, sysfs and command line, and a kernel that
// writes down what it is given.
type system struct {
	root  string
	calls []string
	fail  map[string]error // by module name
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{root: t.TempDir(), fail: map[string]error{}}
	mod := "lib/modules/" + release + "/"
	for name, text := range map[string]string{
		mod + "modules.dep": "k/top-one.ko.xz: k/middle.ko.xz k/base.ko.xz\nk/middle.ko.xz: k/base.ko.xz\nk/base.ko.xz:\n" +
			"k/soft.ko.xz:\nk/late.ko.xz:\nk/wd.ko:\n../escape.ko:\n",
		mod + "modules.alias":   "# comment\nalias pci:v000010ECd*sv*sd*bc*sc*i* top_one\nalias tcp-late late\nalias fs-both soft\nalias fs-both late\nalias broken\n",
		mod + "modules.softdep": "softdep top_one pre: soft nosuch post: late\n",
		mod + "modules.builtin": "k/in-kernel.ko\n",
		"proc/cmdline":          "ro quiet wd.heartbeat=30 wd.nowayout=1 console=ttyS0\n",
	} {
		s.write(t, name, text)
	}
	return s
}

func (s *system) write(t *testing.T, name, text string) {
	t.Helper()
	p := filepath.Join(s.root, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *system) config() Config {
	return Config{Root: s.root, Release: release, Insert: func(path, params string) error {
		s.calls = append(s.calls, strings.TrimSpace(Name(path)+" "+params))
		return s.fail[Name(path)]
	}}
}

func (s *system) loader(t *testing.T) *Loader {
	t.Helper()
	l, err := New(s.config())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name string
		want []string
	}{
		{"base", []string{"base"}},
		{"top-one", []string{"soft", "base", "middle", "top_one", "late"}},
		{"pci:v000010ECd00008168sv0sd0bc02sc00i00", []string{"soft", "base", "middle", "top_one", "late"}},
		{"tcp_late", []string{"late"}},
		{"fs-both", []string{"soft", "late"}},
		{"in_kernel", nil},
		{"wd", []string{"wd heartbeat=30 nowayout=1"}},
	} {
		s := newSystem(t)
		l := s.loader(t)
		for range 2 { // the second time there is nothing to do
			if err := l.Load(c.name); err != nil {
				t.Errorf("load %s: %v", c.name, err)
			}
		}
		if d := cmp.Diff(c.want, s.calls); d != "" {
			t.Errorf("load %s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestLoadSkipsWhatTheKernelHas(t *testing.T) {
	s := newSystem(t)
	s.write(t, "sys/module/base/initstate", "live\n")
	s.fail["middle"] = unix.EEXIST
	if err := s.loader(t).Load("top_one"); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"soft", "middle", "top_one", "late"}, s.calls); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
}

func TestLoadReportsFailure(t *testing.T) {
	s := newSystem(t)
	s.fail["base"] = unix.ENOMEM
	s.fail["soft"] = unix.ENODEV
	l := s.loader(t)
	if err := l.Load("top_one"); !errors.Is(err, unix.ENOMEM) || !strings.Contains(err.Error(), "base") {
		t.Errorf("error %v, want ENOMEM of base", err)
	}
	if err := l.Load("nosuch"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want not found", err)
	}
	if err := l.Load("escape"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a path out of the folder: %v, want not found", err)
	}
	if _, err := New(Config{Root: t.TempDir(), Release: release}); err == nil {
		t.Error("a loader without index was made")
	}
}

func TestColdplugGoesRoundForNewDevices(t *testing.T) {
	s := newSystem(t)
	s.write(t, "sys/bus/pci/devices/0000:00:01.0/modalias", "pci:v000010ECd00008168sv0sd0bc02sc00i00\n")
	s.write(t, "sys/bus/pci/devices/0000:00:02.0/modalias", "pci:v00009999d00008168sv0sd0bc02sc00i00\n")
	s.write(t, "sys/bus/platform/devices/x/modalias", "\n")
	c := s.config()
	insert := c.Insert
	c.Insert = func(path, params string) error {
		if Name(path) == "top_one" {
			s.write(t, "sys/class/input/input3/modalias", "tcp-late\n")
		}
		return insert(path, params)
	}
	s.fail["top_one"] = unix.ENODEV // the driver looks and declines
	s.write(t, "lib/modules/"+release+"/modules.softdep", "")
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.Coldplug(func(a string) bool { return !strings.Contains(a, "9999") }); err != nil {
			t.Error(err)
		}
	}
	if d := cmp.Diff([]string{"base", "middle", "top_one", "late"}, s.calls); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
}

func TestModprobe(t *testing.T) {
	for _, c := range []struct {
		args  []string
		calls []string
		err   string
	}{
		{[]string{"-q", "--", "tcp-late"}, []string{"late"}, ""},
		{[]string{"-q", "--", "net-pf-99"}, nil, ""},
		{[]string{"net-pf-99"}, nil, "net-pf-99"},
		{[]string{"-b", "base", "late"}, []string{"base", "late"}, ""},
		{[]string{"-q", "--"}, nil, "no module named"},
		{nil, nil, "no module named"},
	} {
		s := newSystem(t)
		err := Modprobe(s.config(), c.args)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("modprobe %q: error %v, want %q", c.args, err, c.err)
		}
		if d := cmp.Diff(c.calls, s.calls); d != "" {
			t.Errorf("modprobe %q (-want +got):\n%s", c.args, d)
		}
	}
}

func TestInstallModprobeWantsTheProgram(t *testing.T) {
	if err := InstallModprobe(filepath.Join(t.TempDir(), "nosuch")); err == nil {
		t.Error("a program that is not there was installed")
	}
}

func FuzzLoaderIndex(f *testing.F) {
	f.Add("k/a.ko: k/b.ko", "alias a* b", "softdep a pre: b post: c", "a.x=1 b-c.d")
	f.Fuzz(func(t *testing.T, dep, alias, soft, cmdline string) {
		l := &Loader{
			paths: map[string]string{}, deps: map[string][]string{}, pre: map[string][]string{}, post: map[string][]string{},
			builtin: map[string]bool{}, done: map[string]error{}, params: parameters(cmdline), sys: t.TempDir(),
			insert: func(string, string) error { return nil }, loaded: func(string) {},
		}
		for text, add := range map[string]func([]string){dep: l.addDep, alias: l.addAlias, soft: l.addSoftdep} {
			for line := range strings.Lines(text) {
				if w := strings.Fields(line); len(w) > 0 {
					add(w)
				}
			}
		}
		for name := range l.paths {
			l.Load(name) // ends, whatever the circles
		}
		l.Load("a")
	})
}
