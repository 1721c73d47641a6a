// Package hostdeps sees to it that this computer has the programs that building,
// running and testing need.
//
// Promise: Ensure returns nil only when everything asked for is there. On Debian
// and its descendants what is missing is installed by apt-get, through sudo when
// not root, and the commands are shown before they run. Elsewhere, or where
// neither root nor sudo can be had, nothing is changed: the error says what to
// install. When nothing is missing, Ensure runs no program and needs no network.
//
// Files owned: the folder that Unpacked is given.
package hostdeps

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Tool is something that a Debian package provides.
type Tool struct {
	Package string
	// Provides are programs to be found in PATH or the sbin folders, or absolute
	// names of files; the package is missing when one of them is.
	Provides []string
}

// Ensure installs what is missing of tools and tells out about it.
func Ensure(ctx context.Context, tools []Tool, out io.Writer) error {
	return thisHost().ensure(ctx, tools, out)
}

// host is what Ensure needs to know of a computer, so that tests can make one up.
type host struct {
	root     string // of its file system
	uid      int
	path     []string // folders of programs
	run      func(ctx context.Context, out io.Writer, argv []string) error
	lookSudo func() bool
}

func thisHost() host {
	path := append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin")
	return host{root: "/", uid: os.Getuid(), path: path, run: run, lookSudo: func() bool {
		_, err := exec.LookPath("sudo")
		return err == nil
	}}
}

func (h host) ensure(ctx context.Context, tools []Tool, out io.Writer) error {
	missing := h.missing(tools)
	if len(missing) == 0 {
		return nil
	}
	byHand := fmt.Sprintf("install these packages and try again: %s", strings.Join(missing, " "))
	if !h.isDebian() {
		return fmt.Errorf("this is no Debian, so nothing can be installed by itself; %s (names as in Debian)", byHand)
	}
	var become []string
	if h.uid != 0 {
		if !h.lookSudo() {
			return fmt.Errorf("neither root nor sudo; as root run: apt-get install %s", strings.Join(missing, " "))
		}
		become = []string{"sudo"}
	}
	fmt.Fprintf(out, "installing %s\n", strings.Join(missing, " "))
	if err := h.install(ctx, out, become, missing); err != nil {
		return fmt.Errorf("%w; %s", err, byHand)
	}
	if left := h.missing(tools); len(left) > 0 {
		return fmt.Errorf("still missing after apt-get install: %s", strings.Join(left, " "))
	}
	return nil
}

// install tries with the package lists that are there, which are often recent
// enough, then with fresh ones.
func (h host) install(ctx context.Context, out io.Writer, become, packages []string) error {
	env := []string{"env", "DEBIAN_FRONTEND=noninteractive"}
	apt := append(slices.Concat(become, env, []string{"apt-get", "-o", "DPkg::Lock::Timeout=300"}), "install", "--yes", "--no-install-recommends")
	apt = append(apt, packages...)
	first := h.show(ctx, out, apt)
	if first == nil || ctx.Err() != nil {
		return first
	}
	if err := h.show(ctx, out, slices.Concat(become, []string{"apt-get", "update"})); err != nil {
		return errors.Join(first, err)
	}
	return h.show(ctx, out, apt)
}

func (h host) show(ctx context.Context, out io.Writer, argv []string) error {
	fmt.Fprintf(out, "$ %s\n", strings.Join(argv, " "))
	if err := h.run(ctx, out, argv); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

func run(ctx context.Context, out io.Writer, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = os.Stdin // sudo may ask
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// missing names the packages of which something is not there, each once.
func (h host) missing(tools []Tool) []string {
	var out []string
	for _, t := range tools {
		there := !slices.ContainsFunc(t.Provides, func(name string) bool { return !h.has(name) })
		if !there && !slices.Contains(out, t.Package) {
			out = append(out, t.Package)
		}
	}
	return out
}

func (h host) has(name string) bool {
	if filepath.IsAbs(name) {
		_, err := os.Stat(filepath.Join(h.root, name))
		return err == nil
	}
	return slices.ContainsFunc(h.path, func(dir string) bool {
		st, err := os.Stat(filepath.Join(h.root, dir, name))
		return err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0
	})
}

// isDebian reads os-release(5): Debian itself or something made from it.
func (h host) isDebian() bool {
	f, err := os.Open(filepath.Join(h.root, "etc/os-release"))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(filepath.Join(h.root, "usr/lib/os-release"))
	}
	if err != nil {
		return false
	}
	defer f.Close()
	return debianRelease(f)
}

func debianRelease(r io.Reader) bool {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		value = strings.Trim(value, `"'`)
		if (key == "ID" || key == "ID_LIKE") && slices.Contains(strings.Fields(value), "debian") {
			return true
		}
	}
	return false
}
