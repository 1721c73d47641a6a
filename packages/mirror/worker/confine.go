package worker

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"micromirror/packages/layout"
	"micromirror/packages/mirror"
	"micromirror/packages/rsync/client"
)

// memory bounds a worker's data: the list of three million entries takes less
// than half of it.
const memory = 768 << 20

// MemoryLimit is Go's soft limit of a worker: what three million entries take,
// and some room for garbage.
const MemoryLimit = 480 << 20

// Confine takes from the process what the task does not need. Without a kernel
// that can (a developer's machine) it takes what it can and says so; on a node
// package sandbox has already refused to run there.
func Confine(log *slog.Logger) func(Task) error {
	return func(t Task) error {
		for resource, most := range map[int]uint64{unix.RLIMIT_DATA: memory, unix.RLIMIT_NOFILE: 256, unix.RLIMIT_CORE: 0} {
			if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
				return fmt.Errorf("confine worker: limit %d: %w", resource, err)
			}
		}
		if _, err := ll.LandlockGetABIVersion(); err != nil {
			log.Warn("worker: kernel without landlock, files stay open")
			return nil
		}
		port, err := upstreamPort(t.Project.Upstream.Host)
		if err != nil {
			return fmt.Errorf("confine worker: %w", err)
		}
		stage := mirror.Staging(t.Stage)
		if err := os.MkdirAll(stage, 0o700); err != nil {
			return fmt.Errorf("confine worker: %w", err)
		}
		err = landlock.V5.BestEffort().Restrict(
			landlock.RODirs(t.Tree, filepath.Dir(t.GoneFile)),
			landlock.RWDirs(stage).WithRefer(),
			// A rule sticks to what a link points to: the resolver's file is one.
			landlock.ROFiles("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf").IgnoreIfMissing(),
			landlock.RODirs("/etc", "/proc/self", "/usr/share/zoneinfo", layout.RunDir+"/netd").IgnoreIfMissing(),
			landlock.ConnectTCP(port),
			landlock.ConnectTCP(53), // name servers, when an answer does not fit a datagram
		)
		if err != nil {
			return fmt.Errorf("confine worker: %w", err)
		}
		return prove(t)
	}
}

// prove tries what must not be possible any more.
func prove(t Task) error {
	for what, dir := range map[string]string{"tree": t.Tree, "journal": t.Stage} {
		probe := filepath.Join(dir, ".worker")
		f, err := os.OpenFile(probe, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			f.Close()
			os.Remove(probe)
			return fmt.Errorf("confine worker: the %s can still be written", what)
		}
	}
	return nil
}

// upstreamPort is the port of host[:port].
func upstreamPort(host string) (uint16, error) {
	_, text, err := net.SplitHostPort(host)
	if err != nil {
		text = client.Port
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), err
}
