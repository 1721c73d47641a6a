package factory

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// command is a program in the repository. When ctx ends it is killed together
// with everything that it started: the go command's compilers would go on, and
// keep us waiting for their output.
func (b *build) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = b.Repository, b.hostEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// temp is where programs put their temporary files: what is killed leaves some.
func (b *build) temp() string { return filepath.Join(b.work(), "tmp") }

// hostEnv is the environment of programs that run on this computer.
func (b *build) hostEnv() []string {
	return slices.Concat(os.Environ(), []string{"TMPDIR=" + b.temp()}, b.Env)
}

// output runs a program and returns what it printed.
func (b *build) output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := b.command(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, args[0], err, stderr.Bytes())
	}
	return string(out), nil
}
