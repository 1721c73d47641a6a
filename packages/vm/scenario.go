package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// TB is what Start needs of a *testing.T.
type TB interface {
	Helper()
	Name() string
	Context() context.Context
	Cleanup(func())
	Failed() bool
	Fatal(args ...any)
	Logf(format string, args ...any)
}

// VM is a machine in a test: each step works or ends the test.
type VM struct {
	*Machine
	t       TB
	timeout time.Duration
}

// Start makes a machine for a test and switches it on. It goes when the test ends.
func Start(t TB, cfg Config) *VM {
	t.Helper()
	v := Prepare(t, cfg)
	v.PowerOn()
	return v
}

// Prepare makes a machine for a test and leaves it off, for scenarios that change
// the disk before the first boot.
func Prepare(t TB, cfg Config) *VM {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = t.Name()
	}
	build, err := BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.Context(), filepath.Join(build, "vm"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := &VM{m, t, m.cfg.Timeout}
	kept := filepath.Join(build, "vm-failures", plainName(cfg.Name))
	t.Cleanup(func() { v.finish(kept) })
	return v
}

// finish closes the machine; after a failure it first keeps the evidence.
func (v *VM) finish(kept string) {
	v.t.Helper()
	err := os.RemoveAll(kept) // of an earlier failure
	if v.t.Failed() {
		err = errors.Join(err, v.Keep(kept))
		v.t.Logf("console log and screenshot are in %s; the boots in short:\n%s", kept, digest(v.Console()))
	}
	if err := errors.Join(err, v.Close()); err != nil {
		v.t.Logf("clean up: %v", err)
	}
}

// Keep saves console log, screenshot (when the machine is on), QEMU's command
// line, its events and its last words in dir.
func (m *Machine) Keep(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	var errs []error
	if m.Running() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		errs = append(errs, m.Screenshot(ctx, filepath.Join(dir, "screen.png")))
	}
	var log, report strings.Builder
	for _, l := range m.Console() {
		fmt.Fprintf(&log, "%d %s\n", l.Cycle, l)
	}
	if l, ok := m.console.unended(); ok {
		fmt.Fprintf(&log, "%d %s (unended)\n", l.Cycle, l)
	}
	fmt.Fprintf(&report, "%s %s\n\n", qemuBinary, strings.Join(m.args, " "))
	for _, e := range m.Events() {
		fmt.Fprintf(&report, "%d %8.2f %s %s\n", e.Cycle, e.At.Seconds(), e.Name, e.Data)
	}
	fmt.Fprintf(&report, "\n%s\n", m.lastWords())
	errs = append(errs,
		os.WriteFile(filepath.Join(dir, "console.log"), []byte(log.String()), 0o644),
		os.WriteFile(filepath.Join(dir, "qemu.txt"), []byte(report.String()), 0o644))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep evidence: %w", err)
	}
	return nil
}

func (m *Machine) lastWords() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run != nil {
		return m.run.stderr.String()
	}
	return m.stderr
}

// BuildDir is the folder build at the root of the module that the working
// directory belongs to.
func BuildDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the build folder: %w", err)
	}
	for ; !exists(filepath.Join(dir, "go.mod")); dir = filepath.Dir(dir) {
		if dir == filepath.Dir(dir) {
			return "", errors.New("find the build folder: no go.mod above the working directory")
		}
	}
	return filepath.Join(dir, "build"), nil
}

// Within returns the same machine with another time limit for each wait.
func (v *VM) Within(d time.Duration) *VM {
	return &VM{v.Machine, v.t, d}
}

func (v *VM) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(v.t.Context(), v.timeout, fmt.Errorf("nothing within %v", v.timeout))
}

// step runs one step under the time limit and ends the test if it fails.
func (v *VM) step(f func(context.Context) error) {
	v.t.Helper()
	ctx, cancel := v.ctx()
	defer cancel()
	if err := f(ctx); err != nil {
		v.t.Fatal(err)
	}
}

// PowerOn switches the machine on.
func (v *VM) PowerOn() {
	v.t.Helper()
	v.step(v.Machine.PowerOn)
}

// Restart cuts the power and switches the machine on again.
func (v *VM) Restart() {
	v.t.Helper()
	v.PowerCut()
	v.PowerOn()
}

// Shutdown presses the power button and waits until the machine is off.
func (v *VM) Shutdown() {
	v.t.Helper()
	v.step(v.Machine.Shutdown)
}

// Reset presses the reset button.
func (v *VM) Reset() {
	v.t.Helper()
	v.step(v.Machine.Reset)
}

// WaitOff waits until the machine goes off by itself.
func (v *VM) WaitOff() {
	v.t.Helper()
	v.step(v.Machine.WaitOff)
}

// Wait waits for the next console line that the regular expression matches.
func (v *VM) Wait(re string) (m Match) {
	v.t.Helper()
	v.step(func(ctx context.Context) (err error) {
		m, err = v.WaitConsole(ctx, re)
		return err
	})
	return m
}

// WaitBoot waits for the next kernel to start and tells which slot it is of.
func (v *VM) WaitBoot() string {
	v.t.Helper()
	return slotOf(v.Wait(cmdlineRE.String()).Groups[1])
}

// WaitSlot waits for a kernel of that slot to start; kernels of the other slot
// may start before. It returns how many did.
func (v *VM) WaitSlot(slot string) (others int) {
	v.t.Helper()
	for v.WaitBoot() != slot {
		others++
	}
	return others
}

// WaitEvent waits for the n-th report of that name since power-on.
func (v *VM) WaitEvent(name string, n int) (e Event) {
	v.t.Helper()
	v.step(func(ctx context.Context) (err error) {
		e, err = v.Machine.WaitEvent(ctx, name, n)
		return err
	})
	return e
}

// Get asks the node for a path until it answers 200 and returns the body.
func (v *VM) Get(path string) []byte {
	v.t.Helper()
	return v.GetStatus(path, 200)
}

// GetStatus asks the node for a path until it answers with that status.
func (v *VM) GetStatus(path string, status int) (body []byte) {
	v.t.Helper()
	v.step(func(ctx context.Context) (err error) {
		body, err = v.WaitHTTP(ctx, path, status)
		return err
	})
	return body
}

// Keys presses keys one after the other, see SendKeys.
func (v *VM) Keys(keys ...string) {
	v.t.Helper()
	v.step(func(ctx context.Context) error { return v.SendKeys(ctx, keys...) })
}
