package stick

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/daemon"
	"micromirror/packages/supervise"
)

// Report is what the console tells of a stick; there is none without one.
type Report struct {
	State  string    `json:"state"` // "trying" or "refused"
	Reason string    `json:"reason,omitempty"`
	Time   time.Time `json:"time"`
}

// The states of a Report. A stick that was accepted needs none: then the network
// works, and no stick is of interest any more.
const (
	Trying  = "trying"
	Refused = "refused"
)

// Watcher looks for sticks.
type Watcher struct {
	Sys, Dev string
	Dir      string // where sticks are mounted
	Node     string // whose file is wanted
	Report   string // file
	// Wanted says whether a stick is of interest now.
	Wanted func() bool
	// Try tries what a stick brings.
	Try func(ctx context.Context, f Files) error
	// Mount mounts a device read-only; nil for the kernel's FAT and exFAT.
	Mount func(device, dir string) (unmount func() error, err error)
	Every time.Duration
	Log   *slog.Logger

	seen map[string]bool
}

// mountLimit is how long a stick may take to answer.
const mountLimit = 30 * time.Second

// Run looks for sticks until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	w.tell("", nil)
	tick := time.NewTicker(w.Every)
	defer tick.Stop()
	for {
		if w.Wanted() {
			w.look(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// look tries each stick that was not there before.
func (w *Watcher) look(ctx context.Context) {
	there := devices(w.Sys)
	before := w.seen
	w.seen = map[string]bool{}
	for _, d := range there {
		w.seen[d.key] = true
	}
	if len(before) > 0 && len(there) == 0 {
		w.tell("", nil)
	}
	for _, d := range there {
		if before[d.key] {
			continue
		}
		if err := w.try(ctx, filepath.Join(w.Dev, d.name)); err != nil && ctx.Err() == nil {
			daemon.Notice(w.Log, "stick: refused: "+strings.ReplaceAll(err.Error(), "\n", "; "))
			w.tell(Refused, err)
		}
	}
}

// try reads a device and has its content tried.
func (w *Watcher) try(ctx context.Context, device string) error {
	var file []byte
	err := supervise.Bounded(mountLimit, func() (err error) {
		file, err = w.read(device)
		return err
	})
	if err != nil {
		return err
	}
	files, err := Unpack(file)
	if err != nil {
		return fmt.Errorf("%s on the stick: %w", FileName(w.Node), err)
	}
	daemon.Notice(w.Log, "stick: trying "+FileName(w.Node))
	w.tell(Trying, nil)
	return w.Try(ctx, files)
}

// read copies this node's file from a device.
func (w *Watcher) read(device string) (file []byte, err error) {
	mount := w.Mount
	if mount == nil {
		mount = mountFAT
	}
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return nil, err
	}
	unmount, err := mount(device, w.Dir)
	if err != nil {
		return nil, fmt.Errorf("the stick cannot be read, it must have a FAT or exFAT file system: %w", err)
	}
	defer func() { err = errors.Join(err, unmount()) }()
	return open(w.Dir, w.Node)
}

// open reads the file of a node in a folder.
func open(dir, node string) ([]byte, error) {
	path := filepath.Join(dir, FileName(node))
	if info, err := os.Lstat(path); err != nil {
		return nil, missing(dir, node)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s on the stick is no file", FileName(node))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the stick cannot be read: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("the stick cannot be read: %w", err)
	}
	return b, nil
}

// missing says what is there instead. A folder without end is not read to its end.
func missing(dir, node string) error {
	const most = 1000
	for _, name := range list(dir, most) {
		if other, ok := strings.CutPrefix(name, prefix); ok {
			return fmt.Errorf("the stick has a file for %.40q, this box is %q", strings.TrimSuffix(other, suffix), node)
		}
	}
	return fmt.Errorf("there is no %s on the stick", FileName(node))
}

func list(dir string, most int) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(most) // as far as it can be read
	return names
}

// tell writes the report, or removes it when there is no state.
func (w *Watcher) tell(state string, why error) {
	if state == "" {
		if err := os.Remove(w.Report); err != nil && !os.IsNotExist(err) {
			w.Log.Error("report of the stick", "err", err)
		}
		return
	}
	r := Report{State: state, Time: time.Now()}
	if why != nil {
		r.Reason = strings.ReplaceAll(why.Error(), "\n", "; ")
	}
	b, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(w.Report+".tmp", b, 0o644)
	}
	if err == nil {
		err = os.Rename(w.Report+".tmp", w.Report)
	}
	if err != nil {
		w.Log.Error("report of the stick", "err", err)
	}
}

// device is a file system on USB.
type device struct {
	name string // "sdb1"
	key  string // another one each time that it is put in
}

var usb = regexp.MustCompile(`/usb[0-9]+/`)

// devices lists the partitions of all disks on USB, and those disks that have no
// partitions.
func devices(sys string) (list []device) {
	disks, err := os.ReadDir(filepath.Join(sys, "block"))
	if err != nil {
		return nil
	}
	for _, d := range disks {
		dir, err := filepath.EvalSymlinks(filepath.Join(sys, "block", d.Name()))
		if err != nil || !usb.MatchString(dir) || text(filepath.Join(dir, "size")) == "0" {
			continue
		}
		names := []string{d.Name()}
		if parts, err := filepath.Glob(filepath.Join(dir, d.Name()+"*", "partition")); err == nil && len(parts) > 0 {
			names = nil
			for _, p := range parts {
				names = append(names, filepath.Base(filepath.Dir(p)))
			}
		}
		slices.Sort(names)
		for _, name := range names {
			list = append(list, device{name, name + "#" + text(filepath.Join(dir, "diskseq"))})
		}
	}
	return list
}

func text(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// mountFAT mounts a device so that nothing on it can be run or lead elsewhere.
func mountFAT(device, dir string) (unmount func() error, err error) {
	const flags = unix.MS_RDONLY | unix.MS_NOEXEC | unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOSYMFOLLOW
	var errs []error
	for _, kind := range []string{"vfat", "exfat"} {
		err := unix.Mount(device, dir, kind, flags, "")
		if err == nil {
			return func() error { return unix.Unmount(dir, 0) }, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", kind, err))
	}
	return nil, errors.Join(errs...)
}
