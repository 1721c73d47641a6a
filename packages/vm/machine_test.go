//go:build vm

package vm_test

import (
	"context"
	"errors"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/vm"
)

// emptyDisk makes a disk without anything on it: the firmware ends in its shell.
func emptyDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "empty.raw")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4<<20); err != nil {
		t.Fatal(err)
	}
	return path
}

// recorder is a test that ends its goroutine's step by a panic instead of the test.
type recorder struct {
	*testing.T
	cleanup []func()
	fatal   string
}

type ended struct{}

func (r *recorder) Fatal(args ...any) { r.fatal = fmt.Sprint(args...); panic(ended{}) }
func (r *recorder) Failed() bool      { return r.fatal != "" }
func (r *recorder) Cleanup(f func())  { r.cleanup = append(r.cleanup, f) }
func (r *recorder) attempt(f func())  { defer func() { recover() }(); f() }
func (r *recorder) end() {
	for _, f := range r.cleanup {
		f()
	}
}

// shell waits for the firmware's shell to take commands.
func shell(m *vm.VM) {
	m.Wait(`Press ESC`)
	m.Keys("esc")
	m.Wait(`Shell>`)
}

func TestFirmwareAlone(t *testing.T) {
	m := vm.Start(t, vm.Config{Disk: emptyDisk(t), Memory: 256, Offline: true})
	shell(m)
	m.Keys("v", "e", "r", "ret")
	if ver := m.Wait(`UEFI v(\d)`); ver.Groups[1] != "2" || ver.At <= 0 {
		t.Errorf("the shell's version line is %+v", ver)
	}
	shot := filepath.Join(m.Dir(), "shot.png")
	if err := m.Screenshot(t.Context(), shot); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if img, err := png.Decode(f); err != nil || img.Bounds().Dx() < 320 {
		t.Errorf("screenshot: %v", err)
	}
	m.Reset()
	m.WaitEvent("RESET", 1)
	shell(m)
	m.PowerCut()
	if m.Running() {
		t.Error("on after a power cut")
	}
	m.PowerOn()
	shell(m)
	m.Keys("r", "e", "s", "e", "t", "spc", "minus", "s", "ret")
	m.WaitOff()
	if lines := m.Console(); lines[0].Cycle != 1 || lines[len(lines)-1].Cycle != 2 {
		t.Errorf("power cycles on the console: %d … %d, want 1 … 2", lines[0].Cycle, lines[len(lines)-1].Cycle)
	}
}

func TestFailureKeepsEvidence(t *testing.T) {
	r := &recorder{T: t}
	var m *vm.VM
	r.attempt(func() {
		m = vm.Start(r, vm.Config{Disk: emptyDisk(t), Memory: 256})
		m.Wait(`BdsDxe`)
		if m.Addr(80) == "127.0.0.1:0" {
			t.Error("port 80 is not forwarded")
		}
		m.Within(1).Wait(`text that never comes`)
	})
	if !strings.Contains(r.fatal, "never comes") || !strings.Contains(r.fatal, "BdsDxe") {
		t.Errorf("failure says %q; want what was waited for and the console's end", r.fatal)
	}
	r.end()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(build, "vm-failures", t.Name())
	defer os.RemoveAll(kept)
	for _, name := range []string{"console.log", "screen.png", "qemu.txt"} {
		if st, err := os.Stat(filepath.Join(kept, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s was not kept: %v", name, err)
		}
	}
	if _, err := os.Stat(m.Dir()); !os.IsNotExist(err) {
		t.Errorf("the machine's folder is still there: %v", err)
	}
}

func TestTwoMachinesOnOneCable(t *testing.T) {
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	seats, err := vm.Reserve(t.Context(), filepath.Join(build, "vm"), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer seats.Release()
	link, err := vm.NewLink(1)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	for i := range 2 {
		m := vm.Start(t, vm.Config{Disk: emptyDisk(t), Memory: 256, Offline: true, Seats: seats, Links: []vm.LinkEnd{link.Ends[i]}})
		m.Wait(`BdsDxe`)
	}
}

func TestLogOfWrites(t *testing.T) {
	log, disk := filepath.Join(t.TempDir(), "writes.log"), emptyDisk(t)
	if out, err := exec.Command("mformat", "-i", disk, "-T", "8192", "::").CombinedOutput(); err != nil {
		t.Fatalf("mformat: %v: %s", err, out)
	}
	m := vm.Start(t, vm.Config{Disk: disk, Memory: 256, Offline: true, LogWrites: log, Watchdog: vm.ITCO,
		Clock: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), MissingCPU: vm.NotOnJaguar()})
	shell(m)
	m.Keys("d", "a", "t", "e", "ret")
	m.Wait(`01/02/2030`)
	m.Keys("f", "s", "0", "shift-semicolon", "ret", "m", "k", "d", "i", "r", "spc", "x", "ret", "l", "s", "ret")
	m.Wait(`<DIR>.* x$`)
	m.PowerCut()
	// The log begins with the magic number of dm-log-writes, little-endian.
	if b, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(b), "rhswfsj") {
		t.Errorf("log begins with %q, %v", b[:min(len(b), 8)], err)
	}
}

// TestQEMUThatDoesNotStartSaysWhy must not wait for an answer that never comes.
func TestQEMUThatDoesNotStartSaysWhy(t *testing.T) {
	m, err := vm.New(t.Context(), t.TempDir(), vm.Config{Name: "never", Disk: emptyDisk(t), Extra: []string{"-no-such-option"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	err = m.PowerOn(t.Context())
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("error = %v; want what QEMU said, at once", err)
	}
}
