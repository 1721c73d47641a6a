package sync

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"micromirror/packages/bench"
	rsyncd "micromirror/packages/rsync/daemon"
)

// Crowd is the number of clients that list at the same time in scenario f.
const Crowd = 64

// Serve offers a directory as module src until ctx ends, and prints the address
// when it has been read. It is the measured daemon.
func Serve(ctx context.Context, dir string, w io.Writer) error {
	debug.SetGCPercent(50) // as cmd/rsyncd does
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s, err := rsyncd.New(rsyncd.Config{MaxPerPrefix: 2 * Crowd, Modules: []rsyncd.Module{{
		Name: "src", Path: dir, Generation: func() (string, error) { return "one", nil },
	}}})
	if err != nil {
		return err
	}
	s.Warm(ctx)
	fmt.Fprintln(w, l.Addr())
	return s.Serve(ctx, l)
}

// crowded is the scenario of many clients at once.
func crowded() scenario {
	return scenario{"f", fmt.Sprintf("%d clients list (c)", Crowd), makeMany, nil, nil, false}
}

// measureServe measures daemons: the real client pulls from rsync's and from
// ours. Wall time is the client's, CPU and memory the daemon's; ours includes
// the one reading of the tree that all its connections share.
func measureServe(ctx context.Context, o *Options, s scenario) (Row, error) {
	src, err := o.source(strings.ReplaceAll(s.id, "f", "c"), s) // they share the data
	if err != nil {
		return Row{}, err
	}
	dst := filepath.Join(filepath.Dir(src), "dst")
	daemons := []func() (*served, error){
		func() (*served, error) { return startServe(ctx, append(slices.Clone(o.Serve), src)) },
		func() (*served, error) { return startRsync(ctx, filepath.Dir(src)) },
	}
	medians, err := o.byTurns(dst, len(daemons), func(which int) (Figures, error) { return serveOnce(ctx, s, src, dst, daemons[which]) })
	if err != nil {
		return Row{}, err
	}
	return Row{Side: "daemon", Scenario: s.id, Name: s.name, Ours: medians[0], Rsync: medians[1]}, nil
}

func serveOnce(ctx context.Context, s scenario, src, dst string, start func() (*served, error)) (Figures, error) {
	if s.before != nil {
		if err := prepare(s, src, dst); err != nil {
			return Figures{}, err
		}
	}
	d, err := start()
	if err != nil {
		return Figures{}, err
	}
	begin := time.Now()
	if s.id == "f" {
		err = crowd(ctx, d.addr)
	} else {
		err = pullFrom(ctx, d.addr, "-rlptH", dst+"/")
	}
	wall := time.Since(begin)
	f, stopErr := d.stop()
	f.Wall = wall
	return f, errors.Join(err, stopErr)
}

func pullFrom(ctx context.Context, addr string, args ...string) error {
	args = append([]string{"rsync://" + addr + "/src/"}, args...)
	cmd := exec.CommandContext(ctx, "rsync", args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("rsync %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return nil
}

// crowd lists with many clients at once.
func crowd(ctx context.Context, addr string) error {
	var wg sync.WaitGroup
	errs := make([]error, Crowd)
	for i := range errs {
		wg.Go(func() { errs[i] = pullFrom(ctx, addr, "-r", "--list-only") })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// served is a daemon under measurement.
type served struct {
	cmd  *exec.Cmd
	addr string
	peak chan int64
	quit chan struct{}
}

func startServe(ctx context.Context, command []string) (*served, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, cmd.Wait())
	}
	return watch(cmd, strings.TrimSpace(addr)), nil
}

// startRsync starts rsync's daemon with the same module.
func startRsync(ctx context.Context, dir string) (*served, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	config := filepath.Join(dir, "serve.conf")
	text := fmt.Sprintf("port = %s\naddress = 127.0.0.1\nuse chroot = no\nlog file = /dev/null\n[src]\npath = %s\n", port, filepath.Join(dir, "src"))
	if os.Getuid() == 0 {
		text = "uid = 0\ngid = 0\n" + text
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "rsync", "--daemon", "--no-detach", "--config="+config)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return watch(cmd, addr), nil
		}
	}
	return nil, errors.Join(errors.New("rsync's daemon does not start"), cmd.Process.Kill(), cmd.Wait())
}

// watch samples the memory of a daemon and its children until it is stopped.
func watch(cmd *exec.Cmd, addr string) *served {
	d := &served{cmd: cmd, addr: addr, peak: make(chan int64, 1), quit: make(chan struct{})}
	go func() {
		var peak int64
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, memory(cmd.Process.Pid))
			select {
			case <-tick.C:
			case <-d.quit:
				d.peak <- peak
				return
			}
		}
	}()
	return d
}

// stop ends the daemon and gives what it used.
func (d *served) stop() (Figures, error) {
	close(d.quit)
	peak := <-d.peak
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return Figures{}, err
	}
	err := d.cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = nil // it was told to
	}
	p := d.cmd.ProcessState
	return Figures{CPU: p.UserTime() + p.SystemTime(), RSS: peak >> 10}, err
}

// memory is what a process and its children hold, shared pages counted in
// parts.
func memory(pid int) int64 {
	var sum int64
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // fails only for a malformed pattern
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // has ended
		}
		_, rest, _ := strings.Cut(string(data), ") ") // behind the name: state, parent
		var state string
		var parent, child int
		fmt.Sscanf(rest, "%s %d", &state, &parent)
		fmt.Sscan(filepath.Base(filepath.Dir(file)), &child)
		if child != pid && parent != pid {
			continue
		}
		if n, err := bench.RSS(child); err == nil {
			sum += n
		}
	}
	return sum
}
