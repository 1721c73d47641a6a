package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"micromirror/packages/durable"
	"micromirror/packages/vm"
)

// Workload is what a node does while its power may fail.
type Workload struct {
	Name string
	// Releases are the folders of all releases (package release) that a slot may
	// hold before, during and after.
	Releases []string
	// Machine is the kind of computer; image, disk and log are filled in.
	Machine vm.Config
	// Image writes the disk image that the machine starts with. Servers that
	// Drive and Survive talk to may be started before Run and closed after it.
	Image func(ctx context.Context, out string) error
	// Drive waits until the running machine has done it all. It may reboot the
	// machine, but not cut its power, with which a new log would begin. The
	// machine is then switched off by its power button.
	Drive func(ctx context.Context, m *vm.Machine) error
	// Survive waits until a machine that starts after a cut is well: healthy, with
	// full tries.
	Survive func(ctx context.Context, m *vm.Machine) error
	// Finish then waits until it has done what it was at, as an update; nil if
	// there is nothing left. It is asked of one cut for each thing that the loader
	// can see, since it takes several times as long.
	Finish func(ctx context.Context, m *vm.Machine) error
}

const (
	baseFile      = "base.img"
	logFile       = "writes.log"
	recordingFile = "recording.json"
	stateFile     = "state.json"
	bootFile      = "boot %s.img" // by the cut
)

// recording describes a finished one. With it, base and log are complete.
type recording struct {
	Inputs  string `json:"inputs"` // hash of what it was made from
	Entries int    `json:"entries"`
}

// record makes the recording of a workload in dir, unless there is one of the same
// inputs.
func (w Workload) record(ctx context.Context, dir, machines, inputs string) error {
	if data, err := os.ReadFile(filepath.Join(dir, recordingFile)); err == nil {
		var r recording
		if json.Unmarshal(data, &r) == nil && r.Inputs == inputs {
			return nil
		}
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	base := filepath.Join(dir, baseFile)
	if err := w.Image(ctx, base); err != nil {
		return err
	}
	if w.Machine.Size > 0 { // the machine's disk is larger, and so must be what it is compared with
		if err := os.Truncate(base, w.Machine.Size); err != nil {
			return err
		}
	}
	config := w.machine()
	config.Image, config.LogWrites = base, filepath.Join(dir, logFile)
	if err := w.drive(ctx, machines, config); err != nil {
		return err
	}
	d, err := openRecorded(dir)
	if err != nil {
		return err
	}
	defer d.close()
	data, err := json.Marshal(recording{inputs, len(d.entries)})
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, recordingFile), data, 0o644)
}

// machine is what all machines of a workload have in common. With two of them at
// once, each gets along better with one processor.
func (w Workload) machine() vm.Config {
	c := w.Machine
	c.Name, c.CPUs = "powercut-"+w.Name, 1
	return c
}

func (w Workload) drive(ctx context.Context, machines string, config vm.Config) error {
	m, err := vm.Launch(ctx, machines, config)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := w.Drive(ctx, m); err != nil {
		return fmt.Errorf("%w; the console's end:\n%s", err, m.ConsoleTail(20))
	}
	return m.Shutdown(ctx)
}

// recorded is a disk with its recording: what it held at first and what was written to it.
type recorded struct {
	base, log *os.File
	size      int64
	entries   []entry
	data      []byte // the log, mapped
}

func openRecorded(dir string) (_ *recorded, err error) {
	d := &recorded{}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.base, err = os.Open(filepath.Join(dir, baseFile)); err != nil {
		return nil, err
	}
	if d.log, err = os.Open(filepath.Join(dir, logFile)); err != nil {
		return nil, err
	}
	sizes := [2]int64{}
	for i, f := range []*os.File{d.base, d.log} {
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		sizes[i] = st.Size()
	}
	d.size = sizes[0]
	if d.entries, err = parseLog(d.log, sizes[1], d.size); err != nil {
		return nil, err
	}
	d.data, err = unix.Mmap(int(d.log.Fd()), 0, int(sizes[1]), unix.PROT_READ, unix.MAP_SHARED)
	return d, err
}

func (d *recorded) close() error {
	var errs []error
	if d.data != nil {
		errs = append(errs, unix.Munmap(d.data))
	}
	for _, f := range []*os.File{d.base, d.log} {
		if err := f.Close(); err != nil && !errors.Is(err, fs.ErrInvalid) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
