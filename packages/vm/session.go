package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/child"
)

// session is one run of QEMU: from power-on to power-off.
type session struct {
	process *child.Process
	qmp     *qmp
	stderr  *lastWords
}

// ErrOff is what the methods of a machine that is off return.
var ErrOff = errors.New("the machine is off")

// PowerOn switches the machine on. The console's clock starts at 0.
func (m *Machine) PowerOn(ctx context.Context) error {
	if m.Running() {
		return errors.New("power on: the machine is on already")
	}
	m.PowerCut() // reap what went off by itself
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	files, nics := []*os.File{theirs}, []int(nil)
	for _, end := range m.cfg.Links {
		files = append(files, end.file)
		nics = append(nics, 2+len(files)) // ExtraFiles begin at 3
	}
	m.args = commandLine(m.cfg, m.fw, m.file("vars.fd"), Probe(), m.wantedPorts(), nics)
	cmd := exec.Command(qemuBinary, m.args...)
	words := &lastWords{}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = m.console, words, files
	now := time.Now()
	m.console.powerOn(now)
	process, err := child.Start(cmd)
	theirs.Close() // now QEMU has it; its end must show in ours
	if err != nil {
		ours.Close()
		return err
	}
	s := &session{process, newQMP(ours, m.console.cycle, now), words}
	m.mu.Lock()
	m.run = s
	m.mu.Unlock()
	if err := m.settle(ctx, s); err != nil {
		m.PowerCut()
		return fmt.Errorf("power on: %w; qemu says: %s", err, words)
	}
	return nil
}

// settle waits until QEMU answers and asks which ports it forwards.
func (m *Machine) settle(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.qmp.hello(ctx); err != nil {
		return err
	}
	if m.cfg.Offline {
		return nil
	}
	var table string
	if err := s.qmp.do(ctx, "human-monitor-command", map[string]string{"command-line": "info usernet"}, &table); err != nil {
		return err
	}
	ports := forwards(table)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ports = ports
	return nil
}

// Running says whether the machine is on.
func (m *Machine) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		return false
	}
	select {
	case <-m.run.process.Done():
		return false
	default:
		return true
	}
}

// Off is closed when the machine has gone off.
func (m *Machine) Off() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return m.run.process.Done()
}

// PowerCut pulls the plug: QEMU is killed. Nothing the guest's disk had not yet
// accepted is written.
func (m *Machine) PowerCut() {
	m.mu.Lock()
	s := m.run
	m.run = nil
	m.mu.Unlock()
	if s == nil {
		return
	}
	s.process.Kill()
	s.qmp.conn.Close()
	<-s.qmp.closed
	events, _ := s.qmp.seen()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past = append(m.past, events...)
	m.stderr = s.stderr.String()
}

// Shutdown presses the power button and waits until the machine has gone off.
func (m *Machine) Shutdown(ctx context.Context) error {
	if err := m.QMP(ctx, "system_powerdown", nil, nil); err != nil {
		return err
	}
	return m.WaitOff(ctx)
}

// WaitOff waits until the machine goes off by itself.
func (m *Machine) WaitOff(ctx context.Context) error {
	select {
	case <-m.Off():
		m.PowerCut()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for power off: %w; the console ends\n%s", context.Cause(ctx), m.ConsoleTail(25))
	}
}

// Reset presses the reset button.
func (m *Machine) Reset(ctx context.Context) error { return m.QMP(ctx, "system_reset", nil, nil) }

// QMP runs a command of the QEMU Machine Protocol. out, if not nil, gets the
// decoded answer.
func (m *Machine) QMP(ctx context.Context, command string, args, out any) error {
	s, err := m.session()
	if err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	return s.qmp.do(ctx, command, args, out)
}

func (m *Machine) session() (*session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil {
		return nil, ErrOff
	}
	return m.run, nil
}

// WaitConsole waits for a line, see Wait of VM.
func (m *Machine) WaitConsole(ctx context.Context, re string) (Match, error) {
	compiled, err := compile(re)
	if err != nil {
		return Match{}, err
	}
	return m.console.wait(ctx, compiled, m.Off())
}

// WaitEvent waits until QEMU has reported the named event n times since power-on.
func (m *Machine) WaitEvent(ctx context.Context, name string, n int) (Event, error) {
	s, err := m.session()
	if err != nil {
		return Event{}, fmt.Errorf("wait for event %s: %w", name, err)
	}
	return s.qmp.wait(ctx, name, n)
}

// socketPair returns a stream for us and its other end for the child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control of qemu")
	defer ours.Close()
	conn, err := net.FileConn(ours) // a copy
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	return conn, theirs, nil
}

// lastWords keeps the end of what QEMU wrote to standard error.
type lastWords struct {
	mu sync.Mutex
	b  []byte
}

func (w *lastWords) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, b...)
	w.b = w.b[max(0, len(w.b)-8<<10):]
	return len(b), nil
}

func (w *lastWords) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(bytes.TrimSpace(w.b))
}
