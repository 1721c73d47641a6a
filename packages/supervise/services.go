package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Services are the other daemons of the node, which init starts from one
// directory and starts again when they end.
type Services struct {
	Proc string // /proc
	Dir  string // /user
	Self int    // process not to end
	Kill func(pid int) error
}

// Restart ends all of them, so that they read their configuration anew.
func (s Services) Restart() error {
	pids, err := s.running()
	if err != nil {
		return err
	}
	var errs []error
	for pid, program := range pids {
		if err := s.Kill(pid); err != nil && !errors.Is(err, unix.ESRCH) { // ended meanwhile
			errs = append(errs, fmt.Errorf("restart %s: %w", program, err))
		}
	}
	return errors.Join(errs...)
}

// Drain ends one of them and waits until it is gone, which for the file server is
// when it has sent what it was sending. It is started again after that.
func (s Services) Drain(ctx context.Context, name string) error {
	pids, err := s.running()
	if err != nil {
		return err
	}
	for pid, program := range pids {
		if filepath.Base(program) != name {
			continue
		}
		if err := s.Kill(pid); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("drain %s: %w", name, err)
		}
		if err := s.gone(ctx, pid); err != nil {
			return fmt.Errorf("drain %s: %w", name, err)
		}
	}
	return nil
}

func (s Services) gone(ctx context.Context, pid int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(s.Proc, strconv.Itoa(pid))); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// running finds the other daemons' processes and programs.
func (s Services) running() (map[int]string, error) {
	files, err := filepath.Glob(filepath.Join(s.Proc, "[0-9]*", "cmdline"))
	if err != nil {
		return nil, err
	}
	pids := map[int]string{}
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || pid == s.Self || pid == 1 {
			continue
		}
		cmdline, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		program, _, _ := bytes.Cut(cmdline, []byte{0})
		if filepath.Dir(string(program)) == s.Dir {
			pids[pid] = string(program)
		}
	}
	return pids, nil
}
