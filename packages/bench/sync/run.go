package sync

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options says what to measure.
type Options struct {
	Dir       string   // where data lies
	Scenarios string   // letters, such as "abcde"
	Scale     float64  // of the data; 1 is the full size
	Rounds    int      // runs of each client
	Pull      []string // command that calls Pull: address, module and destination are appended
	Serve     []string // command that calls Serve: the directory is appended
	Whole     []string // command that calls Whole: address, module and destination are appended
	Plan      []string // command that calls Plan: number of entries and an empty folder are appended
	Timer     []string // command that calls Timed: the command is appended
	Sides     string   // of "client", "daemon" and "run", with commas
	Report    func(string)
	Measured  []Row // by an earlier run: not measured again
	Keep      func(Row) error
}

// Figures are medians of one client's runs.
type Figures struct {
	Wall, CPU time.Duration
	RSS       int64 // KiB
}

// Row compares both clients, both daemons, or whole runs.
type Row struct {
	Side, Scenario, Name string
	Ours, Rsync          Figures
	// Transfer is how long the same upstream takes to send rsync its list, in a run
	// of which the aim leaves that out.
	Transfer time.Duration
}

func (r Row) String() string {
	ratio := func(a, b time.Duration) float64 { return float64(a) / float64(b) }
	return fmt.Sprintf("%s %s %-28s ours %7.2fs wall %7.2fs cpu %5d MiB   rsync %7.2fs wall %7.2fs cpu %5d MiB   %.2fx wall %.2fx cpu",
		r.Side, r.Scenario, r.Name, r.Ours.Wall.Seconds(), r.Ours.CPU.Seconds(), r.Ours.RSS>>10,
		r.Rsync.Wall.Seconds(), r.Rsync.CPU.Seconds(), r.Rsync.RSS>>10, ratio(r.Ours.Wall, r.Rsync.Wall), ratio(r.Ours.CPU, r.Rsync.CPU))
}

// Run measures the scenarios one after the other, of clients, of daemons and of
// whole runs, but for those in o.Measured.
func Run(ctx context.Context, o Options) error {
	for _, side := range []struct {
		name      string
		scenarios []scenario
		measure   func(context.Context, *Options, scenario) (Row, error)
	}{{"client", scenarios(), measure}, {"daemon", append(scenarios(), crowded()), measureServe}, {"run", whole(), measureWhole}, {"run", []scenario{planned()}, measurePlan}} {
		for _, s := range side.scenarios {
			if !strings.Contains(o.Sides, side.name) || !strings.Contains(o.Scenarios, s.id) {
				continue
			}
			if o.measured(side.name, s.id) {
				o.Report(side.name + " " + s.id + " was measured earlier")
				continue
			}
			row, err := side.measure(ctx, &o, s)
			if err != nil {
				return fmt.Errorf("%s, scenario %s: %w", side.name, s.id, err)
			}
			o.Report(row.String())
			if err := o.Keep(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Options) measured(side, scenario string) bool {
	return slices.ContainsFunc(o.Measured, func(r Row) bool { return r.Side == side && r.Scenario == scenario })
}

// measure compares the clients.
func measure(ctx context.Context, o *Options, s scenario) (Row, error) {
	from, err := o.offer(ctx, s)
	if err != nil {
		return Row{}, err
	}
	defer from.stop()
	dst := from.beside("dst")
	clients := [][]string{
		append(slices.Clone(o.Pull), from.addr, "src", dst),
		{"rsync", "-rlptH", from.url, dst + "/"},
	}
	medians, err := o.byTurns(dst, len(clients), func(which int) (Figures, error) {
		if err := prepare(s, from.src, dst); err != nil {
			return Figures{}, err
		}
		return timed(ctx, o, clients[which])
	})
	if err != nil {
		return Row{}, err
	}
	return Row{Side: "client", Scenario: s.id, Name: s.name, Ours: medians[0], Rsync: medians[1]}, nil
}

// prepare puts the destination into its state before a run.
func prepare(s scenario, src, dst string) error {
	if s.again != nil {
		if _, err := os.Stat(dst); err == nil {
			return s.again(dst)
		}
	}
	if err := s.remove(dst); err != nil {
		return err
	}
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	if err := s.before(src, dst); err != nil {
		return err
	}
	syscall.Sync()
	return nil
}

func cloneTree(src, dst string) error {
	out, err := exec.Command("cp", "-a", src+"/.", dst).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy tree: %w: %s", err, out)
	}
	return nil
}

// timed runs a client by way of a small process, because a process that is
// started inherits the peak memory of the one that starts it.
func timed(ctx context.Context, o *Options, command []string) (Figures, error) {
	cmd := exec.CommandContext(ctx, o.Timer[0], append(slices.Clone(o.Timer[1:]), command...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return Figures{}, fmt.Errorf("%s: %w: %s", command[0], err, errs.String())
	}
	var f Figures
	return f, json.Unmarshal(out, &f)
}

// Timed runs a command and writes its Figures, those of its children included.
func Timed(ctx context.Context, command []string, w io.Writer) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	f := Figures{Wall: time.Since(start), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		f.RSS = usage.Maxrss
	}
	return json.NewEncoder(w).Encode(f)
}

func median(runs []Figures) Figures {
	pick := func(value func(Figures) int64) int64 {
		v := make([]int64, len(runs))
		for i, r := range runs {
			v[i] = value(r)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return Figures{
		Wall: time.Duration(pick(func(f Figures) int64 { return int64(f.Wall) })),
		CPU:  time.Duration(pick(func(f Figures) int64 { return int64(f.CPU) })),
		RSS:  pick(func(f Figures) int64 { return f.RSS }),
	}
}

// daemon serves dir's subdirectory src by rsync itself, one process for each
// connection.
func daemon(ctx context.Context, dir string) (addr string, stop func(), err error) {
	config := filepath.Join(dir, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = no\n[src]\npath = %s\nread only = yes\n", filepath.Join(dir, "src"))
	if os.Getuid() == 0 {
		text = "uid = 0\ngid = 0\n" + text
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				return
			}
			cmd := exec.CommandContext(ctx, "rsync", "--daemon", "--config="+config)
			cmd.Stdin, cmd.Stdout = f, f
			if cmd.Start() == nil {
				go cmd.Wait()
			}
			f.Close()
		}
	}()
	return l.Addr().String(), func() { l.Close() }, nil
}
