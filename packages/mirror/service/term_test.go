package service

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/child"
	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/mirror/worker"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

// TestMain lets the test binary be a whole service, and its workers.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	dir, addr := os.Getenv("SERVICE_TEST_DIR"), os.Getenv("SERVICE_TEST_UPSTREAM")
	switch {
	case slices.Contains(os.Args, "-worker"):
		if err := worker.Main(ctx, os.Stdin, os.Stdout, worker.Confine(log), log); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case dir != "":
		err := New(processConfig(dir, addr, log)).Run(ctx)
		fmt.Fprintln(os.Stderr, "ended:", err)
	default:
		os.Exit(m.Run())
	}
}

// processConfig is a node with one project, whose folders are below dir.
func processConfig(dir, addr string, log *slog.Logger) Config {
	p := project.Complete("demo", project.Project{Rate: 1 << 30, Upstream: project.Upstream{Host: addr, Module: "m"}})
	n := &node.Config{Fleet: node.Fleet{Upstream: addr, Projects: map[string]project.Project{"demo": p}}}
	n.Node.Projects = []string{"demo"}
	at := func(sub string) string { return filepath.Join(dir, sub) }
	return Config{Node: n, Mirror: at("mirror"), Stage: at("stage"), State: at("state"), Run: at("run"), Worker: []string{os.Args[0], "-worker"}, Log: log}
}

// TestTerminatedInTheMiddle sends SIGTERM to a service whose worker waits for an
// upstream that has fallen silent in the middle of a transfer. All end, and the
// next start goes on where it was.
func TestTerminatedInTheMiddle(t *testing.T) {
	dir := mirrortest.TempDir(t)
	upstream := filepath.Join(dir, "upstream")
	mirrortest.Make(t, dir, "mirror/", "stage/", "state/", "run/")
	var entries []string
	for i := range 20 {
		entries = append(entries, fmt.Sprintf("pool/%02d: %s", i, strings.Repeat(fmt.Sprint(i), 20<<10)))
	}
	mirrortest.Make(t, upstream, entries...)
	peer := mirrortest.StartPeer(t, upstream)
	start := func() *child.Process {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SERVICE_TEST_DIR="+dir, "SERVICE_TEST_UPSTREAM="+peer.Addr)
		cmd.Stderr = t.Output()
		p, err := child.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	stop := func(p *child.Process) {
		t.Helper()
		syscall.Kill(p.PID(), syscall.SIGTERM)
		select {
		case <-p.Done():
		case <-time.After(30 * time.Second):
			t.Fatal("it does not end")
		}
	}
	staged := func() int {
		files, err := filepath.Glob(filepath.Join(dir, "stage/demo/fetch/new/*/*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	peer.Stall.Store(200 << 10)
	p := start()
	poll(t, "transfer", func() bool { return staged() > 2 })
	stop(p)
	s := status.Load(filepath.Join(dir, "state"), "demo")
	if s.Status != status.Failed || s.Failures != 0 || !strings.HasPrefix(s.ErrorMsg, "interrupted") {
		t.Errorf("after SIGTERM the state is %+v", s)
	}
	if staged() == 0 {
		t.Error("nothing that was fetched was kept")
	}
	peer.Stall.Store(0)
	p = start()
	poll(t, "publication", func() bool { return status.Load(filepath.Join(dir, "state"), "demo").Status == status.Idle })
	stop(p)
	if diff := cmp.Diff(mirrortest.Describe(t, upstream, true), mirrortest.Describe(t, filepath.Join(dir, "mirror/demo"), true)); diff != "" {
		t.Errorf("-upstream +mirror\n%s", diff)
	}
}
