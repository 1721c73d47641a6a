package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/layout"
)

// targets are the things a confined daemon must not reach, found while the
// whole system is still visible.
type targets struct {
	read  []string // files and directories to open
	write []string // directories to create a file in
}

// proofName is the file that an escaped daemon would leave behind.
const proofName = ".sandbox-escape"

func findTargets(p Policy) targets {
	t := targets{
		read:  []string{"/dev/mem", "/dev/kmsg", "/proc/1/environ", "/proc/1/maps", "/etc/shadow", "/etc/gokr-pw.txt"},
		write: []string{"/", "/etc", "/tmp", "/run", "/dev", "/dev/shm", layout.Perm, layout.NodeDir, layout.MirrorDir, layout.StageDir},
	}
	for _, pattern := range []string{"/dev/sd*", "/dev/nvme*", "/dev/vd*", "/dev/dm-*", layout.StateDir + "/*"} {
		found, _ := filepath.Glob(pattern) // fails only for a malformed pattern
		t.read = append(t.read, found...)
	}
	granted := slices.Concat(baseRead[:], p.Read, p.Write, p.Exec)
	t.read = slices.DeleteFunc(t.read, func(path string) bool { return missing(path) || within(path, granted) })
	t.write = slices.DeleteFunc(t.write, func(path string) bool { return missing(path) || within(path, p.Write) })
	return t
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return err != nil
}

// within reports whether path is one of the granted paths or below one.
func within(path string, granted []string) bool {
	return slices.ContainsFunc(granted, func(g string) bool {
		g = filepath.Clean(g)
		return path == g || g == "/" || strings.HasPrefix(path, g+"/")
	})
}

// prove tries to break out and returns an error for everything that worked.
// Paths and ports are confined by landlock, so without it those attempts say
// nothing and are left out.
func prove(p Policy, t targets, locked bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var errs []error
	escaped := func(ok bool, format string, args ...any) {
		if ok {
			errs = append(errs, fmt.Errorf("escape succeeded: "+format, args...))
		}
	}
	escaped(extraCaps(p), "holds capabilities %v", cap.GetProc())
	if p.UID != 0 {
		escaped(rawOK(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)), "became root")
		escaped(rawOK(unix.SYS_SETRESGID, ^uintptr(0), 0, ^uintptr(0)), "became group root")
		escaped(unix.Kill(1, 0) == nil, "may signal process 1")
	}
	if !slices.Contains(p.KeepCaps, cap.SYS_ADMIN) {
		escaped(unix.Mount("none", "/", "tmpfs", unix.MS_REMOUNT, "") == nil, "mounted a file system")
		escaped(rawOK(unix.SYS_UNSHARE, unix.CLONE_NEWNS, 0, 0), "made a mount namespace")
	}
	if !locked {
		return errors.Join(errs...)
	}
	for _, path := range t.read {
		escaped(canOpen(path), "opened %s", path)
	}
	for _, dir := range t.write {
		escaped(canCreate(dir), "created a file in %s", dir)
	}
	escaped(!p.BindAny && denied(unix.Bind, p.Bind) != nil, "bound a foreign port")
	escaped(!p.ConnectAny && denied(unix.Connect, p.Connect) != nil, "connected to a foreign port")
	return errors.Join(errs...)
}

// rawOK makes a system call in this thread only and reports its success.
func rawOK(trap, a, b, c uintptr) bool {
	_, _, errno := unix.RawSyscall(trap, a, b, c)
	return errno == 0
}

func extraCaps(p Policy) bool {
	have := cap.GetProc()
	for v := cap.Value(0); v < cap.MaxBits(); v++ {
		if ok, err := have.GetFlag(cap.Permitted, v); err == nil && ok && !slices.Contains(p.KeepCaps, v) {
			return true
		}
	}
	return false
}

func canOpen(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func canCreate(dir string) bool {
	path := filepath.Join(dir, proofName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	f.Close()
	os.Remove(path)
	return true
}

// denied returns nil if the kernel forbids the operation on a port that is not
// allowed. Port 1 or 2 is refused or free everywhere, so any other answer than
// "permission denied" means that the port was within reach.
func denied(op func(int, unix.Sockaddr) error, allowed []uint16) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	port := 1
	for slices.Contains(allowed, uint16(port)) {
		port++
	}
	err = op(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if errors.Is(err, unix.EACCES) {
		return nil
	}
	return fmt.Errorf("port %d: %w", port, errors.Join(err, unix.EISCONN))
}
