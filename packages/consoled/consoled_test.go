package consoled

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/daemon"
	"micromirror/packages/mirror/status"
	"micromirror/packages/node"
)

func TestDrawsOnlyWhatChanged(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, 50, 160)
	frame := func(f Frame) string {
		out.Reset()
		if err := s.draw(f); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	f := Render(well())
	first := frame(f)
	if !strings.HasPrefix(first, begin+"\x1b[13;41H") || strings.Count(first, "H\x1b[0") != Rows {
		t.Errorf("first frame %q", first)
	}
	if again := frame(f); again != "" {
		t.Errorf("the same frame writes %q", again)
	}
	f[3] = line(Strong, "new")
	if got, want := frame(f), "\x1b[16;41H"+sgr[Strong]+f[3].Text+reset; got != want {
		t.Errorf("one line changed: %q, want %q", got, want)
	}
	for range refresh - 3 {
		frame(f)
	}
	if got := frame(f); strings.Count(got, "H\x1b[0") != Rows || strings.Contains(got, "\x1b[2J") {
		t.Errorf("after %d frames: %q", refresh, got)
	}
}

func TestGather(t *testing.T) {
	syncd := t.TempDir()
	state := status.State{Name: "debian", Status: status.Syncing, Serving: true, LastUpdate: noon}
	if err := state.Save(syncd); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(syncd, "damaged.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Sources{
		About: Status{Name: "fra1"}, Projects: []string{"debian", "damaged"}, SyncD: syncd,
		Run: fstest.MapFS{
			"health.json":                {Data: []byte(`{"slot":"b","checks":[{"name":"space","status":"ok","reason":"much"}]}`)},
			"netd/state.json":            {Data: []byte(`{"gateways":[{"address":"192.0.2.1","reachable":true}]}`)},
			"updated/update.json":        {Data: []byte(`{`)},
			"syncd/debian.progress.json": {Data: []byte(`{"phase":"list"}`)},
		},
		Now: func() time.Time { return noon }, Up: func() time.Duration { return time.Hour },
	}
	got := s.Gather()
	if got.Name != "fra1" || got.Up != time.Hour || got.Running != 0 || got.Health.fact("space") != "much" || !got.Network.connected() || got.Update != nil {
		t.Errorf("status %+v", got)
	}
	s.Up = func() time.Duration { return 2 * time.Hour }
	if again := s.Gather(); again.Running != time.Hour {
		t.Errorf("running for %v", again.Running)
	}
	want := []Project{{State: state, Progress: &status.Progress{Phase: "list"}}, {State: status.State{Name: "damaged", Status: status.Never, Serving: true}}}
	if d := cmp.Diff(want, got.Projects); d != "" {
		t.Errorf("projects (-want +got):\n%s", d)
	}
}

func TestAbout(t *testing.T) {
	config := &node.Config{Fleet: node.Fleet{Domain: "mirror.example", Contact: "noc"}, Node: node.Node{Name: "fra1", Hardware: "qemu"}}
	image := fstest.MapFS{"version.json": {Data: []byte(`{"version":"7"}`)}}
	got := About(config, os.DirFS("../../hardware"), image)
	want := Status{Name: "fra1.mirror.example", Contact: "noc", Model: "QEMU q35 with UEFI (development and tests)", Version: "7"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("about (-want +got):\n%s", d)
	}
	if got := About(&node.Config{}, fstest.MapFS{}, fstest.MapFS{}); !got.Unconfigured {
		t.Errorf("without configuration: %+v", got)
	}
}

// The log gets a block after the start, the lines that are new when something
// happens, and nothing for what flaps.
func TestTellsChangesOnly(t *testing.T) {
	var told []string
	teller := &teller{say: func(l string) { told = append(told, l) }}
	step := func(at time.Duration, change string, want ...string) {
		t.Helper()
		told = nil
		s := well()
		screens[change](&s)
		teller.tell(noon.Add(at), s)
		if d := cmp.Diff(want, told); d != "" {
			t.Errorf("after %v %s (-want +got):\n%s", at, change, d)
		}
	}
	s := well()
	who := Lines(s)
	step(0, "starting")
	step(time.Second, "all-well", who...)
	step(2*time.Second, "no-link")
	step(time.Minute, "all-well")
	screens["no-link"](&s)
	step(2*time.Minute, "no-link", Lines(s)[1:]...)
	step(3*time.Minute, "all-well", who[1:]...)
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var term, log bytes.Buffer
		shown := 0
		ctx, cancel := context.WithCancel(t.Context())
		c := Config{Gather: well, Terminal: &term, Rows: Rows, Columns: Columns, Show: func() { shown++ }, Log: daemon.NewLog("consoled", &bytes.Buffer{}, &log)}
		Greet(c)
		if !strings.Contains(term.String(), "STARTING") {
			t.Errorf("greeting %q", term.String())
		}
		ended := make(chan error)
		go func() { ended <- Run(ctx, c) }()
		time.Sleep(10*interval + interval/2) // of the bubble
		synctest.Wait()
		if shown != 12 || !strings.Contains(term.String(), "ALL IS WELL") {
			t.Errorf("shown %d times: %q", shown, term.String())
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if !strings.Contains(term.String(), "SHUTTING DOWN") || !strings.Contains(log.String(), "mm consoled: all is well\n") {
			t.Errorf("screen %q, log %q", term.String(), log.String())
		}
	})
}

// Without a terminal the log still tells.
func TestRunWithoutScreen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, Config{Gather: well, Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
