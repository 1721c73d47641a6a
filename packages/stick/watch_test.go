package stick

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/daemon"
)

// port is a machine with USB: disks by name, and what a stick holds, as a folder.
type port struct {
	t       *testing.T
	root    string
	sticks  map[string]string // device to folder; without one it cannot be mounted
	mounted int
	console strings.Builder
	tried   []Files
	answer  error
	w       *Watcher
}

func newPort(t *testing.T) *port {
	p := &port{t: t, root: t.TempDir(), sticks: map[string]string{}}
	p.w = &Watcher{
		Sys: filepath.Join(p.root, "sys"), Dev: "/dev", Dir: filepath.Join(p.root, "mnt"), Node: "one",
		Report: filepath.Join(p.root, "stick.json"), Wanted: func() bool { return true }, Every: time.Millisecond,
		Log: daemon.NewLog("updated", io.Discard, &p.console),
		Try: func(_ context.Context, f Files) error { p.tried = append(p.tried, f); return p.answer },
		Mount: func(device, dir string) (func() error, error) {
			folder, ok := p.sticks[device]
			if !ok {
				return nil, errors.New("invalid argument")
			}
			p.mounted++
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			return func() error { p.mounted--; return os.Remove(dir) }, os.Symlink(folder, dir)
		},
	}
	return p
}

// plug makes a disk on a bus, in its n-th place since the start.
func (p *port) plug(bus, name, seq string, partitions ...string) {
	p.t.Helper()
	dir := filepath.Join(p.root, "sys/devices/pci0000:00", bus, "block", name)
	err := os.MkdirAll(filepath.Join(p.root, "sys/block"), 0o755)
	for _, part := range partitions {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, part), 0o755), os.WriteFile(filepath.Join(dir, part, "partition"), []byte("1\n"), 0o644))
	}
	err = errors.Join(err, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "size"), []byte("2048\n"), 0o644),
		os.WriteFile(filepath.Join(dir, "diskseq"), []byte(seq+"\n"), 0o644))
	if link := filepath.Join(p.root, "sys/block", name); err == nil {
		if err = os.Remove(link); os.IsNotExist(err) {
			err = nil
		}
		err = errors.Join(err, os.Symlink(dir, link))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *port) unplug(name string) {
	p.t.Helper()
	dir, err := filepath.EvalSymlinks(filepath.Join(p.root, "sys/block", name))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(dir), os.Remove(filepath.Join(p.root, "sys/block", name))); err != nil {
		p.t.Fatal(err)
	}
}

// holds puts a file on the stick in a device.
func (p *port) holds(device, name string, content []byte) {
	p.t.Helper()
	if p.sticks[device] == "" {
		p.sticks[device] = p.t.TempDir()
	}
	if err := os.WriteFile(filepath.Join(p.sticks[device], name), content, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *port) report() Report {
	p.t.Helper()
	var r Report
	b, err := os.ReadFile(p.w.Report)
	if os.IsNotExist(err) {
		return r
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	r.Time = time.Time{}
	return r
}

const usbBus = "0000:00:14.0/usb1/1-2/1-2:1.0/host6"

func packed(t *testing.T) ([]byte, Files) {
	t.Helper()
	files, err := Collect(repository(), "config/nodes/one.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Pack(files)
	if err != nil {
		t.Fatal(err)
	}
	return b, files
}

// A stick is tried once for each time that it is put in, and never the disks
// inside the box.
func TestStickIsTriedOnce(t *testing.T) {
	p := newPort(t)
	file, files := packed(t)
	p.plug("0000:00:11.0/ata1/host0", "sda", "1", "sda1", "sda4")
	p.plug(usbBus, "sdb", "2", "sdb1")
	p.holds("/dev/sda1", FileName("one"), file)
	p.holds("/dev/sdb1", FileName("one"), file)
	p.answer = errors.New("older than\nwhat was seen")
	p.w.look(t.Context())
	p.w.look(t.Context())
	if d := cmp.Diff([]Files{files}, p.tried); d != "" {
		t.Errorf("tried (-want +got):\n%s", d)
	}
	if d := cmp.Diff(Report{State: Refused, Reason: "older than; what was seen"}, p.report()); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	p.unplug("sdb")
	p.w.look(t.Context())
	if d := cmp.Diff(Report{}, p.report()); d != "" {
		t.Errorf("report without a stick (-want +got):\n%s", d)
	}
	p.plug(usbBus, "sdb", "3", "sdb1")
	p.answer = nil
	p.w.look(t.Context())
	if d := cmp.Diff(Report{State: Trying}, p.report()); d != "" || len(p.tried) != 2 {
		t.Errorf("tried %d times, report (-want +got):\n%s", len(p.tried), d)
	}
	if p.mounted != 0 {
		t.Errorf("%d sticks are still mounted", p.mounted)
	}
}

// The kernel shows a disk before it has read its partitions.
func TestPartitionsThatAppearLater(t *testing.T) {
	p := newPort(t)
	file, _ := packed(t)
	p.plug(usbBus, "sdb", "2")
	p.w.look(t.Context())
	p.plug(usbBus, "sdb", "2", "sdb1")
	p.holds("/dev/sdb1", FileName("one"), file)
	p.w.look(t.Context())
	if len(p.tried) != 1 {
		t.Errorf("tried %d times, report %+v", len(p.tried), p.report())
	}
}

func TestSticksThatAreRefused(t *testing.T) {
	file, _ := packed(t)
	for name, c := range map[string]struct {
		put  func(p *port)
		want string
	}{
		"garbage":         {func(*port) {}, "the stick cannot be read, it must have a FAT or exFAT file system: invalid argument"},
		"holiday photos":  {func(p *port) { p.holds("/dev/sdb", "IMG_0001.JPG", nil) }, "there is no micromirror-one.tar on the stick"},
		"another node's":  {func(p *port) { p.holds("/dev/sdb", FileName("two"), file) }, `the stick has a file for "two", this box is "one"`},
		"a huge file":     {func(p *port) { p.holds("/dev/sdb", FileName("one"), make([]byte, MaxSize+5)) }, "micromirror-one.tar on the stick: has more than 4194304 bytes"},
		"noise":           {func(p *port) { p.holds("/dev/sdb", FileName("one"), []byte(strings.Repeat("x", 2000))) }, "micromirror-one.tar on the stick: damaged: archive/tar: invalid tar header"},
		"a folder of it":  {func(p *port) { p.folder("/dev/sdb", FileName("one")) }, "micromirror-one.tar on the stick is no file"},
		"a link to a key": {func(p *port) { p.link("/dev/sdb", FileName("one"), "/perm/node/age.key") }, "micromirror-one.tar on the stick is no file"},
	} {
		p := newPort(t)
		p.plug(usbBus, "sdb", "2")
		c.put(p)
		p.w.look(t.Context())
		if d := cmp.Diff(Report{State: Refused, Reason: c.want}, p.report()); d != "" {
			t.Errorf("%s: report (-want +got):\n%s", name, d)
		}
		if len(p.tried) != 0 || p.mounted != 0 {
			t.Errorf("%s: tried %d times, %d mounted", name, len(p.tried), p.mounted)
		}
		if !strings.Contains(p.console.String(), "mm updated: stick: refused: "+c.want+"\n") {
			t.Errorf("%s: console:\n%s", name, p.console.String())
		}
	}
}

func (p *port) folder(device, name string) {
	p.holds(device, "x", nil)
	if err := os.Mkdir(filepath.Join(p.sticks[device], name), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

func (p *port) link(device, name, to string) {
	p.holds(device, "x", nil)
	if err := os.Symlink(to, filepath.Join(p.sticks[device], name)); err != nil {
		p.t.Fatal(err)
	}
}

// A node whose network works looks at no stick.
func TestStickIsOfNoInterest(t *testing.T) {
	p := newPort(t)
	file, _ := packed(t)
	p.plug(usbBus, "sdb", "2")
	p.holds("/dev/sdb", FileName("one"), file)
	asked := make(chan bool)
	p.w.Wanted = func() bool { asked <- true; return false }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.w.Run(ctx) }()
	<-asked
	<-asked
	cancel()
	select {
	case <-asked:
		<-ended
	case <-ended:
	}
	if len(p.tried) != 0 {
		t.Error("it was tried")
	}
}
