package daemon

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// start serves modules on loopback until the test ends.
func start(t testing.TB, cfg Config) (addr string) {
	t.Helper()
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s)
}

func serve(t testing.TB, s *Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

// run runs the real client and gives what it printed.
func run(t testing.TB, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "rsync", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !asExit(err, &exit) {
		t.Fatalf("rsync %q: %v", args, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*exit = e
	return ok
}

// must runs the real client and wants it to succeed.
func must(t testing.TB, args ...string) string {
	t.Helper()
	out, code := run(t, args...)
	if code != 0 {
		t.Fatalf("rsync %q: exit code %d\n%s", args, code, out)
	}
	return out
}

// describe lists a tree: one line an entry, with all that a mirror keeps.
func describe(t testing.TB, root string) []string {
	t.Helper()
	inodes := map[uint64]string{}
	var lines []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		line := fmt.Sprintf("%q %v", name, info.Mode())
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			st := info.Sys().(*syscall.Stat_t)
			line += fmt.Sprintf(" %s %x %v", stamp(info), sum(data), st.Size)
			if st.Nlink > 1 {
				if inodes[st.Ino] == "" {
					inodes[st.Ino] = name
				}
				line += " = " + inodes[st.Ino]
			}
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case name != "":
			line += " " + stamp(info)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// stamp is an entry's time, unless it has that of the test's run because the
// client did not keep the source's.
func stamp(info fs.FileInfo) string {
	if time.Since(info.ModTime()) < time.Hour {
		return "now"
	}
	return fmt.Sprint(info.ModTime().UnixNano())
}

func sum(data []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range data {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// sameFiles wants two trees to be equal.
func sameFiles(t testing.TB, want, got string) {
	t.Helper()
	if diff := gocmp.Diff(describe(t, want), describe(t, got)); diff != "" {
		t.Errorf("trees differ (-%s +%s):\n%s", want, got, diff)
	}
}

// truncate drops the fractions of all times, which older protocols do not have.
func truncate(t testing.TB, root string) {
	t.Helper()
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.Mode()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(path, info.ModTime().Truncate(time.Second), info.ModTime().Truncate(time.Second))
	})
	if err != nil {
		t.Fatal(err)
	}
}
