// Package sandbox takes away from a daemon everything that its job does not
// need, and proves it.
//
// A daemon starts as root, opens what only root can open (its listeners, the
// kernel log, a clock device), gives its directories to its own user with Own
// and then calls Enter, which in this order
//
//   - confines it with landlock to the paths and TCP ports of its Policy,
//   - drops every capability not in the Policy, also from the bounding set,
//   - gives up all groups, then the group and the user root,
//   - sets no_new_privs, so that nothing it executes can win anything back,
//   - tries to break out in every way it knows of: user, mounts, raw disks,
//     kernel memory, other daemons' state, foreign directories, foreign ports,
//     process 1. One success is an error, and the daemon must end.
//
// All of it covers every thread of the process, also without cgo.
//
// On a node a missing landlock is an error. Elsewhere (a developer's machine)
// what the kernel or the lack of root does not allow is logged and left out.
//
// Ports mean TCP: landlock confines neither UDP nor Multipath TCP, which a node
// therefore switches off (net.mptcp.enabled=0).
//
// What a process holds open before Enter stays usable. A rule for a path sticks
// to the file or directory that is there at that moment: grant the directory of
// a file that is replaced by rename.
package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"kernel.org/pub/linux/libs/security/libcap/cap"

	"micromirror/packages/layout"
)

// Policy is what a daemon keeps. The zero value keeps the user root and
// nothing else.
type Policy struct {
	UID, GID int         // user and group to become; 0 stays root
	KeepCaps []cap.Value // capabilities that stay effective

	// Files and directories with all below them; missing ones are ignored.
	Read  []string // may be read and listed
	Write []string // may be read, changed, created, renamed and removed
	Exec  []string // may be read and executed

	// TCP ports; nil is none.
	Bind, Connect       []uint16
	BindAny, ConnectAny bool

	// Mounts is for a daemon that mounts file systems: landlock forbids that,
	// so only capabilities and user confine it.
	Mounts bool
}

// nodeMark exists on a node and hardly elsewhere.
const nodeMark = "/gokrazy/init"

// Enter confines the calling process. After an error the process is in an
// undefined state and must end.
func Enter(p Policy, log *slog.Logger) error {
	_, err := os.Stat(nodeMark)
	return enter(p, log, err == nil)
}

func enter(p Policy, log *slog.Logger, onNode bool) error {
	if onNode {
		// The resolver's file is replaced while the daemons run, so its
		// directory must be there to be granted, whoever starts first.
		if err := os.MkdirAll(filepath.Dir(layout.RunDir+"/netd/resolv.conf"), 0o755); err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
	}
	targets := findTargets(p)
	locked, err := lock(p, log, onNode)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	if os.Geteuid() == 0 {
		err = drop(p)
	} else if onNode {
		err = errors.New("not started as root")
	} else {
		log.Warn("sandbox: not started as root, keeping user and capabilities")
		return nil
	}
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	if err := prove(p, targets, locked); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	log.Info("sandboxed", "uid", p.UID, "capabilities", cap.GetProc().String(), "landlock", locked)
	return nil
}

// Own makes dir, with its parents, and gives it to a user. A symbolic link in
// its place is refused: it would hand over whatever it points to.
func Own(dir string, uid, gid int, perm fs.FileMode) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("own: %w", err)
	}
	d, err := openDir(dir)
	if err != nil {
		return fmt.Errorf("own: %w", err)
	}
	defer d.Close()
	if os.Geteuid() == 0 {
		if err := d.Chown(uid, gid); err != nil {
			return fmt.Errorf("own: %w", err)
		}
	}
	if err := d.Chmod(perm); err != nil {
		return fmt.Errorf("own: %w", err)
	}
	return nil
}
