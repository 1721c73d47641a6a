package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/layout"
)

// minABI is the landlock version that knows TCP ports (4) and ioctls on
// devices (5); a node's kernel has it.
const minABI = 5

// File system rights in the terms of landlock(7). Devices cannot be made with
// any of them.
const (
	readFile  = ll.AccessFSReadFile
	readDir   = readFile | ll.AccessFSReadDir
	writeFile = readFile | ll.AccessFSWriteFile | ll.AccessFSTruncate
	writeDir  = readDir | writeFile | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeDir |
		ll.AccessFSMakeReg | ll.AccessFSMakeSock | ll.AccessFSMakeFifo | ll.AccessFSMakeSym | ll.AccessFSRefer
	handledFS = writeDir | ll.AccessFSExecute | ll.AccessFSMakeChar | ll.AccessFSMakeBlock | ll.AccessFSIoctlDev
)

// Every daemon may read these: name resolution, trust roots, time zone, and
// what Go's runtime and net package look at.
var baseRead = [...]string{
	"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/ssl", "/etc/localtime", "/etc/mime.types",
	"/usr/share/zoneinfo", "/proc/self", "/proc/sys/net/core/somaxconn", "/dev/urandom",
	layout.RunDir + "/netd",
}

// lock applies landlock and reports whether the kernel enforces it.
func lock(p Policy, log *slog.Logger, onNode bool) (bool, error) {
	if p.Mounts {
		return false, nil
	}
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < minABI {
		if onNode {
			return false, fmt.Errorf("the kernel's landlock is version %d, need %d: %w", abi, minABI, errors.Join(err, unix.ENOSYS))
		}
		log.Warn("sandbox: kernel without sufficient landlock, files and ports stay open", "version", abi, "need", minABI)
		return false, nil
	}
	rules := []landlock.Rule{landlock.PathAccess(writeFile, "/dev/null").IgnoreIfMissing()}
	rules = append(rules, pathRules(baseRead[:], readFile, readDir)...)
	rules = append(rules, pathRules(p.Read, readFile, readDir)...)
	rules = append(rules, pathRules(p.Write, writeFile, writeDir)...)
	rules = append(rules, pathRules(p.Exec, readFile|ll.AccessFSExecute, readDir|ll.AccessFSExecute)...)
	var net landlock.AccessNetSet
	if !p.BindAny {
		net |= ll.AccessNetBindTCP
		for _, port := range p.Bind {
			rules = append(rules, landlock.BindTCP(port))
		}
	}
	if !p.ConnectAny {
		net |= ll.AccessNetConnectTCP
		for _, port := range p.Connect {
			rules = append(rules, landlock.ConnectTCP(port))
		}
	}
	cfg, err := landlock.NewConfig(landlock.AccessFSSet(handledFS), net)
	if err != nil {
		return false, err
	}
	return true, cfg.Restrict(rules...)
}

// pathRules grants file rights to files, directory rights to directories and
// nothing to what is missing: landlock refuses directory rights on a file.
func pathRules(paths []string, file, dir landlock.AccessFSSet) []landlock.Rule {
	var rules []landlock.Rule
	for _, path := range paths {
		switch st, err := os.Stat(path); {
		case err != nil:
		case st.IsDir():
			rules = append(rules, landlock.PathAccess(dir, path).IgnoreIfMissing())
		default:
			rules = append(rules, landlock.PathAccess(file, path).IgnoreIfMissing())
		}
	}
	return rules
}

// drop gives up capabilities, groups and user, in all threads.
func drop(p Policy) error {
	keep := cap.NewSet()
	if err := keep.SetFlag(cap.Permitted, true, p.KeepCaps...); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if err := keep.SetFlag(cap.Effective, true, p.KeepCaps...); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	if err := dropBounding(keep); err != nil {
		return err
	}
	if err := cap.ResetAmbient(); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	if err := cap.SetGroups(p.GID); err != nil {
		return fmt.Errorf("drop groups: %w", err)
	}
	if p.UID != 0 {
		if err := cap.SetUID(p.UID); err != nil {
			return fmt.Errorf("become user %d: %w", p.UID, err)
		}
	}
	if err := keep.SetProc(); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// dropBounding limits what any later exec could give.
func dropBounding(keep *cap.Set) error {
	for v := cap.Value(0); v < cap.MaxBits(); v++ {
		if kept, err := keep.GetFlag(cap.Permitted, v); err == nil && kept {
			continue
		}
		if have, err := cap.GetBound(v); err != nil || !have {
			continue
		}
		if err := cap.DropBound(v); err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", v, err)
		}
	}
	return nil
}

// openDir opens a directory, but not through a symbolic link.
func openDir(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}
