//go:build vm

package show

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/vm"
)

// watcher calls its functions when a text has come by.
type watcher struct {
	seen bytes.Buffer
	on   map[string]func()
}

func (w *watcher) Write(b []byte) (int, error) {
	w.seen.Write(b)
	for text, f := range w.on {
		if strings.Contains(w.seen.String(), text) {
			delete(w.on, text)
			f()
		}
	}
	return len(b), nil
}

// TestStopLeavesNothingBehind stops the demo while it boots.
func TestStopLeavesNothingBehind(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &watcher{on: map[string]func(){"BdsDxe: starting": stop}}
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	repo := filepath.Dir(build)
	if err := Run(ctx, Options{Repository: repo, Release: filepath.Join(repo, "build", "release"), Out: out}); err != nil {
		t.Fatalf("%v\n%s", err, &out.seen)
	}
	if len(out.on) > 0 {
		t.Fatalf("stopped before the boot:\n%s", &out.seen)
	}
	if left, err := filepath.Glob(filepath.Join(repo, "build", "vm", "demo-*")); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if children := childrenOf(t, os.Getpid()); children != "" {
		t.Errorf("processes left behind: %s", children)
	}
}

// childrenOf lists the processes that a process has started and that still exist.
func childrenOf(t *testing.T, pid int) string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil { // the thread may have ended
			all = append(all, strings.Fields(string(b))...)
		}
	}
	return strings.Join(all, " ")
}
