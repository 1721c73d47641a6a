package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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
	files, err := filepath.Glob(filepath.Join(s.Proc, "[0-9]*", "cmdline"))
	if err != nil {
		return err
	}
	var errs []error
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
		if filepath.Dir(string(program)) != s.Dir {
			continue
		}
		if err := s.Kill(pid); err != nil {
			errs = append(errs, fmt.Errorf("restart %s: %w", program, err))
		}
	}
	return errors.Join(errs...)
}
