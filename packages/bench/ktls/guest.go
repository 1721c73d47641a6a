package ktls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/bench"
)

// results is what the virtual machine says. Costs are seconds of CPU for a GB.
type results struct {
	Costs   map[string]map[string][]float64 `json:"costs"` // by body and way, one a round
	AES     []float64                       `json:"aes"`   // AES-GCM alone, in user space
	Driver  string                          `json:"driver"`
	Failure string                          `json:"failure,omitempty"`
}

// guestServer is the server program in the virtual machine.
const guestServer = "/httpd"

// Guest is the first process of the virtual machine: it measures, says the results
// on the console and switches off. args are those after the name.
func Guest(ctx context.Context, args []string) error {
	r := results{Costs: map[string]map[string][]float64{}}
	if err := r.measure(ctx, args); err != nil {
		r.Failure = err.Error()
	}
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("results: %w", err)
	}
	fmt.Printf("\n%s%s\n", mark, line)
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func (r *results) measure(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("arguments %q: want the number of rounds", args)
	}
	rounds, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("rounds: %w", err)
	}
	if err := errors.Join(mount("proc", "/proc"), mount("sysfs", "/sys"), mount("tmpfs", "/srv"), loopback()); err != nil {
		return err
	}
	for _, b := range bodies {
		if err := os.WriteFile(filepath.Join("/srv", b.file), make([]byte, b.size), 0o644); err != nil {
			return err
		}
	}
	if err := bench.Certify("/acme"); err != nil {
		return err
	}
	targets, err := startServers(ctx)
	if err != nil {
		return err
	}
	for range rounds {
		if err := r.round(ctx, targets); err != nil {
			return err
		}
	}
	data, err := os.ReadFile("/proc/crypto")
	r.Driver = driver(data, "gcm(aes)")
	return err
}

// mount mounts a file system of the kernel's.
func mount(kind, on string) error {
	if err := os.MkdirAll(on, 0o755); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := unix.Mount(kind, on, kind, 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", on, err)
	}
	return nil
}

// loopback brings the interface up; the kernel gives it its address.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// Ways to serve.
const (
	wayKernel = "kernel"
	wayServer = "server"
	wayPlain  = "plain"
)

// ways lists them.
var ways = [...]string{wayKernel, wayServer, wayPlain}

// target is a way to serve: the server's process and address.
type target struct {
	pid int
	url string
}

// startServers starts a server that lets the kernel seal and one that does not.
func startServers(ctx context.Context) (map[string]target, error) {
	sealing, err := startServer(ctx, "/one", "127.0.0.1:80", "127.0.0.1:443", "-kernel-tls=true")
	if err != nil {
		return nil, err
	}
	plain, err := startServer(ctx, "/two", "127.0.0.1:81", "127.0.0.1:444", "-kernel-tls=false")
	if err != nil {
		return nil, err
	}
	return map[string]target{
		wayKernel: {sealing, "https://127.0.0.1:443"},
		wayServer: {plain, "https://127.0.0.1:444"},
		wayPlain:  {plain, "http://127.0.0.1:81"},
	}, nil
}

// startServer waits until both ports are open. It ends with the machine.
func startServer(ctx context.Context, dir, listen, https string, flags ...string) (pid int, err error) {
	common, err := bench.Ours(dir)
	if err != nil {
		return 0, err
	}
	args := append(append(common, "-listen", listen, "-https", https, "-acme", "/acme", "-root", "/srv"), flags...)
	cmd := exec.CommandContext(ctx, guestServer, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start server: %w", err)
	}
	for _, addr := range []string{listen, https} {
		if err := opens(ctx, addr); err != nil {
			return 0, err
		}
	}
	return cmd.Process.Pid, nil
}

// opens waits for a port, for as long as an emulated computer may take.
func opens(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for server: %w", err)
		}
	}
}
