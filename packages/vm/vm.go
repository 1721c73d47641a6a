// Package vm runs disk images in QEMU with UEFI firmware, for tests and for the
// demo.
//
// Promise: a machine is a q35 PC with an AHCI disk, its own copy of the firmware
// variables, a network card on QEMU's user network (the host is 10.0.2.2, the
// node's ports are reachable on free ports of 127.0.0.1) and a watchdog. KVM is
// used where Probe finds that it works. All files are below build/vm/<name> and
// go when the machine is closed; what a crashed process left behind goes at the
// next start of any machine. QEMU dies with the process that started it, and
// nothing else is ever signalled. At most two machines run at once on a computer.
//
// Start is for tests: every step either works or ends the test, and a failed
// test keeps console log, screenshot and QEMU's own words in
// build/vm-failures/<test>. Launch is for programs and returns errors. A scenario
// reads like this:
//
//	m := vm.Start(t, vm.Config{Image: image})
//	m.Wait(`mm httpd: serving on`)
//	page := m.Get("/demo-files/")
//	m.PowerCut()
//	m.Disk().Scramble(vm.RootA, 0, 1<<20)
//	m.PowerOn()
//	m.WaitSlot("b")
//
// Waits are events, not pauses: each looks at what the console said after the
// previous wait's match (or the last power-on).
package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Config describes a machine. The zero value of every field but Image or Disk is
// the usual machine.
type Config struct {
	Name       string        // of its folder; Start takes the test's name
	Image      string        // disk image that is copied; the original is never written
	Disk       string        // or: disk image used in place; a bare name means in the machine's folder
	Size       int64         // grows the copy of Image, sparsely; 0 keeps its size
	Memory     int           // MiB, default 1024
	CPUs       int           // default 2; one takes less of a busy computer, where two wait for each other
	MissingCPU []string      // CPU features to hide, see NotOnJaguar
	Watchdog   Watchdog      // default I6300ESB
	NIC        string        // QEMU device name, default e1000e
	Ports      map[int]int   // node's TCP port → wanted port on 127.0.0.1, 0 for any; default 80, 443, 873
	Offline    bool          // the card has no link partner: no DHCP, no upstream
	Links      []LinkEnd     // further cards, each wired to another machine's
	Disks      []string      // further raw disks, used in place
	LogWrites  string        // file that gets a blklogwrites log of the disk
	NoReboot   bool          // a reset of the guest turns the machine off instead
	Clock      time.Time     // what its real-time clock says at power-on; zero: the truth
	Extra      []string      // further QEMU arguments
	Timeout    time.Duration // of each wait of a VM, default 15 minutes
	Seats      *Seats        // from Reserve, for scenarios with two machines
	OnLine     func(Line)    // told every console line; must not block
}

func (c Config) withDefaults() Config {
	if c.Memory == 0 {
		c.Memory = 1024
	}
	if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.Watchdog == "" {
		c.Watchdog = I6300ESB
	}
	if c.NIC == "" {
		c.NIC = "e1000e"
	}
	if c.Ports == nil {
		c.Ports = map[int]int{80: 0, 443: 0, 873: 0}
	}
	if c.Timeout == 0 {
		c.Timeout = 15 * time.Minute
	}
	return c
}

// Watchdog names a watchdog device.
type Watchdog string

// The watchdogs that QEMU emulates. ITCO is the one of real Intel boards.
const (
	I6300ESB   Watchdog = "i6300esb"
	ITCO       Watchdog = "iTCO"
	NoWatchdog Watchdog = "none"
)

// Machine is a computer that can be switched on and off. Its methods may be used
// by several goroutines, except those that switch it.
type Machine struct {
	cfg     Config
	dir     string // its folder, removed by Close
	fw      Firmware
	seats   *Seats
	lock    *os.File
	console *console
	log     *os.File

	mu     sync.Mutex
	run    *session // nil while off
	past   []Event  // events of earlier power cycles
	ports  map[int]int
	stderr string // QEMU's last words of the previous session
	args   []string
}

// Launch prepares a machine below dir and switches it on. Close it.
func Launch(ctx context.Context, dir string, cfg Config) (*Machine, error) {
	m, err := New(ctx, dir, cfg)
	if err != nil {
		return nil, err
	}
	if err := m.PowerOn(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// New prepares a machine below dir and leaves it off. Close it.
func New(ctx context.Context, dir string, cfg Config) (_ *Machine, err error) {
	cfg = cfg.withDefaults()
	if (cfg.Image == "") == (cfg.Disk == "") || cfg.Name == "" {
		return nil, errors.New("new machine: want a name and exactly one of image and disk")
	}
	m := &Machine{cfg: cfg, ports: map[int]int{}}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.fw, err = FindFirmware(); err != nil {
		return nil, err
	}
	if m.seats = cfg.Seats; m.seats == nil {
		if m.seats, err = Reserve(ctx, dir, 1); err != nil {
			return nil, err
		}
	}
	if m.dir, m.lock, err = makeFolder(dir, cfg.Name); err != nil {
		return nil, err
	}
	return m, m.fill()
}

// fill makes the files in the machine's folder.
func (m *Machine) fill() (err error) {
	if m.log, err = os.Create(m.file("console.log")); err != nil {
		return fmt.Errorf("new machine: %w", err)
	}
	m.console = newConsole(m.log, m.cfg.OnLine)
	if err := CopySparse(m.fw.Vars, m.file("vars.fd"), 0); err != nil {
		return err
	}
	if m.cfg.LogWrites != "" { // QEMU wants the file to be there
		if err := os.WriteFile(m.cfg.LogWrites, nil, 0o644); err != nil {
			return fmt.Errorf("new machine: %w", err)
		}
	}
	if m.cfg.Image == "" {
		if filepath.Base(m.cfg.Disk) == m.cfg.Disk {
			m.cfg.Disk = m.file(m.cfg.Disk)
		}
		return nil
	}
	m.cfg.Disk = m.file("disk.raw")
	return CopySparse(m.cfg.Image, m.cfg.Disk, m.cfg.Size)
}

func (m *Machine) file(name string) string { return filepath.Join(m.dir, name) }

// Dir is the machine's folder; scenarios may keep files there.
func (m *Machine) Dir() string { return m.dir }

// Close switches the machine off and removes its files.
func (m *Machine) Close() error {
	m.Retire()
	if m.log != nil {
		m.log.Close()
	}
	if m.dir == "" {
		return nil
	}
	err := os.RemoveAll(m.dir)
	m.lock.Close()
	if err != nil {
		return fmt.Errorf("remove machine's files: %w", err)
	}
	return nil
}

// Retire switches the machine off for good, so that another one may run; its files
// stay until Close.
func (m *Machine) Retire() {
	m.PowerCut()
	if m.seats != nil && m.cfg.Seats == nil {
		m.seats.Release()
	}
}

// Disk is the machine's disk, to be looked into and changed while it is off.
func (m *Machine) Disk() Disk { return Disk{Path: m.cfg.Disk} }

// Console returns everything the machine wrote so far, over all power cycles.
func (m *Machine) Console() []Line { return m.console.all() }

// ConsoleTail returns the last n lines as text for an error message.
func (m *Machine) ConsoleTail(n int) string { return m.console.tail(n) }

// Boots lists the kernels that started so far.
func (m *Machine) Boots() []Boot { return boots(m.console.all()) }

// Timeline returns when this power cycle reached which milestone.
func (m *Machine) Timeline() []Mark {
	lines := m.console.all()
	if len(lines) == 0 {
		return nil
	}
	return timeline(lines, lines[len(lines)-1].Cycle)
}

// Events returns what QEMU reported so far, over all power cycles.
func (m *Machine) Events() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.past)
	if m.run != nil {
		now, _ := m.run.qmp.seen()
		out = append(out, now...)
	}
	return out
}
