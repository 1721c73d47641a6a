package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/mirror/mirrortest"
	"micromirror/packages/mirror/status"
	"micromirror/packages/project"
)

// TestMain lets the test binary be the worker, in several moods.
func TestMain(m *testing.M) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Getenv("WORKER_TEST") {
	case "":
		os.Exit(m.Run())
	case "real":
		enter := func(task Task) error {
			err := Confine(log)(task)
			if stage := os.Getenv("WORKER_TEST_VANDAL"); stage != "" {
				os.Remove(filepath.Join(stage, "plan"))
				os.Remove(filepath.Join(stage, "torn"))
				os.WriteFile(filepath.Join(stage, "new"), nil, 0o600)
			}
			return err
		}
		if Main(ctx, os.Stdin, os.Stdout, enter, log) != nil {
			os.Exit(1)
		}
	case "dies":
		unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	case "babbles":
		os.Stdout.WriteString("hello\n")
	case "lingers":
		os.Stdout.WriteString(`{"outcome":{"Files":7}}` + "\n")
		select {}
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		select {}
	}
}

func newTask(t *testing.T, addr string) Task {
	t.Helper()
	dir := mirrortest.TempDir(t)
	task := Task{
		Name: "demo", Attempts: 1, Tree: filepath.Join(dir, "tree"), Stage: filepath.Join(dir, "stage"),
		GoneFile: filepath.Join(dir, "state", "demo.gone"),
	}
	task.Project = project.Complete("demo", project.Project{Kind: "apt"})
	task.Project.Upstream = project.Upstream{Host: addr, Module: "m"}
	mirrortest.Make(t, dir, "tree/", "state/")
	return task
}

func fetch(t *testing.T, ctx context.Context, mood string, task Task) (files int64, err error) {
	t.Helper()
	t.Setenv("WORKER_TEST", mood)
	res, err := Fetch(ctx, []string{os.Args[0]}, task, func(status.Progress) {})
	return res.Files, err
}

func TestWorkerFetches(t *testing.T) {
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, "pool/a: a", "dists/x/InRelease: x")
	_, port, err := net.SplitHostPort(mirrortest.StartPeer(t, dir).Addr)
	if err != nil {
		t.Fatal(err)
	}
	task := newTask(t, "localhost:"+port) // a name: the resolver must work, too
	files, err := fetch(t, t.Context(), "real", task)
	if err != nil || files != 2 {
		t.Errorf("%d files, %v; want 2", files, err)
	}
	if got := mirrortest.Describe(t, task.Tree, false); len(got) != 1 {
		t.Errorf("the worker changed the tree: %v", got)
	}
	if _, err := os.Stat(filepath.Join(task.Stage, "fetch/proposal")); err != nil {
		t.Error(err)
	}
}

func TestWorkerChecks(t *testing.T) {
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, "pool/a: a", "dists/x/InRelease: x")
	task := newTask(t, mirrortest.StartPeer(t, dir).Addr)
	mirrortest.Make(t, task.Tree, "pool/a: a", "dists/x/InRelease: x")
	t.Setenv("WORKER_TEST", "real")
	got, err := Check(t.Context(), []string{os.Args[0]}, task)
	if err != nil || got.Compared != 2 || got.Changed != 0 || len(got.Wrong) != 0 {
		t.Errorf("found %+v, %v; want both files equal", got, err)
	}
	t.Setenv("WORKER_TEST", "babbles")
	if got, err := Check(t.Context(), []string{os.Args[0]}, task); err == nil {
		t.Errorf("a worker that babbles found %+v", got)
	}
}

// The worker can spoil what it fetches, not what the publisher keeps.
func TestWorkerCannotReachTheJournal(t *testing.T) {
	dir := mirrortest.TempDir(t)
	mirrortest.Make(t, dir, "pool/a: a")
	task := newTask(t, mirrortest.StartPeer(t, dir).Addr)
	mirrortest.Make(t, task.Stage, "plan: p", "torn: t")
	t.Setenv("WORKER_TEST", "real")
	t.Setenv("WORKER_TEST_VANDAL", task.Stage)
	if _, err := Fetch(t.Context(), []string{os.Args[0]}, task, func(status.Progress) {}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plan", "torn"} {
		if _, err := os.Stat(filepath.Join(task.Stage, name)); err != nil {
			t.Errorf("the worker removed %s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(task.Stage, "new")); err == nil {
		t.Error("the worker made a file beside the journal")
	}
}

func TestWorkersEnd(t *testing.T) {
	task := newTask(t, "127.0.0.1:1")
	tests := map[string]string{"real": "connection refused", "dies": "killed", "babbles": "invalid character"}
	for mood, want := range tests {
		if _, err := fetch(t, t.Context(), mood, task); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error = %v, want one with %q", mood, err, want)
		}
	}
}

// A worker that has said its last word is not waited for.
func TestWorkerLingers(t *testing.T) {
	files, err := fetch(t, t.Context(), "lingers", newTask(t, "127.0.0.1:1"))
	if err != nil || files != 7 {
		t.Errorf("%d files, %v; want what it said", files, err)
	}
}

// A first synchronisation may report for days.
func TestManyMessages(t *testing.T) {
	var said bytes.Buffer
	line := `{"progress":{"phase":"fetch"` + strings.Repeat(" ", 1<<20) + "}}\n"
	for range 66 {
		said.WriteString(line)
	}
	said.WriteString(`{"outcome":{"Files":3}}` + "\n")
	reports := 0
	m, err := listen(&said, func(status.Progress) { reports++ })
	if err != nil || m.Outcome == nil || m.Outcome.Files != 3 || reports != 66 {
		t.Errorf("%d reports, %+v, %v", reports, m, err)
	}
}

// FuzzListen hears what a worker that was taken over may say.
func FuzzListen(f *testing.F) {
	f.Add([]byte(`{"progress":{"phase":"list"}}` + "\n" + `{"outcome":{"Complete":true,"Failed":"x"}}`))
	f.Add([]byte(`{"checked":{"Wrong":["a"]}}` + "\n"))
	f.Add([]byte(`{"error":"refused"}` + "\n"))
	f.Add([]byte("null\n{}\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		m, err := listen(bytes.NewReader(said), func(status.Progress) {})
		if err == nil && m.Outcome == nil && m.Checked == nil {
			t.Errorf("neither an error nor a result of %q", said)
		}
	})
}

func TestWorkerIsStopped(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("enough"))
	defer cancel()
	if _, err := fetch(t, ctx, "deaf", newTask(t, "127.0.0.1:1")); err == nil || err.Error() != "enough" {
		t.Errorf("error = %v", err)
	}
}
