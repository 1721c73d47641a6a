package netd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/daemon"
)

// job is the netd that the re-executed test binary runs in a namespace.
type job struct {
	Config   Config
	Run      string
	Working  string
	Patience time.Duration
}

const jobVar = "NETD_TEST_JOB"

// TestMain doubles as the daemon under test, so that it sees its own /sys and
// /proc/sys, as on a node.
func TestMain(m *testing.M) {
	if text := os.Getenv(jobVar); text != "" {
		os.Exit(runJob(text))
	}
	os.Exit(m.Run())
}

// runJob runs netd until standard input ends.
func runJob(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	log := daemon.NewLog("netd", os.Stderr, os.Stdout)
	err := Run(ctx, j.Config, Env{Proc: "/proc/sys", Sys: "/sys", Run: j.Run, Working: j.Working, Patience: j.Patience, Log: log})
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// lab is a node and its network, each a namespace, joined by a cable whose ends
// are eth7 (node) and up0 (network).
type lab struct {
	t         *testing.T
	node, net string
	run       string
	working   string        // file of the last configuration that worked
	patience  time.Duration // zero for the usual
	console   *safeBuffer
	stop      func()
}

func newLab(t *testing.T) *lab {
	t.Helper()
	t.Parallel()
	l := &lab{t: t, run: t.TempDir(), console: &safeBuffer{}}
	l.node, l.net = l.namespace("node"), l.namespace("net")
	l.cable("eth7", "up0")
	return l
}

// namespace makes a network namespace that lives as long as the test.
func (l *lab) namespace(role string) string {
	l.t.Helper()
	name := fmt.Sprintf("mm-%s-%d-%d", role, os.Getpid(), time.Now().UnixNano()%1e6)
	l.command("ip", "netns", "add", name)
	l.t.Cleanup(func() { exec.Command("ip", "netns", "del", name).Run() })
	l.command("ip", "-n", name, "link", "set", "lo", "up")
	return name
}

// cable joins the two namespaces; the node's end stays down, as at power-on.
func (l *lab) cable(nodeEnd, netEnd string) {
	l.t.Helper()
	l.command("ip", "-n", l.node, "link", "add", nodeEnd, "type", "veth", "peer", "name", netEnd, "netns", l.net)
	l.inNet("ip", "link", "set", netEnd, "up")
}

func (l *lab) command(args ...string) string {
	l.t.Helper()
	out, err := exec.CommandContext(l.t.Context(), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (l *lab) inNet(args ...string) string {
	l.t.Helper()
	return l.command(append([]string{"ip", "netns", "exec", l.net}, args...)...)
}

func (l *lab) inNode(args ...string) string {
	l.t.Helper()
	return l.command(append([]string{"ip", "netns", "exec", l.node}, args...)...)
}

// peer runs a server in the network until the test ends.
func (l *lab) peer(args ...string) (kill func()) {
	l.t.Helper()
	out := &safeBuffer{}
	cmd := exec.Command("ip", append([]string{"netns", "exec", l.net}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	kill = onceOnly(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	l.t.Cleanup(func() {
		kill()
		if l.t.Failed() {
			l.t.Logf("%s said:\n%s", args[0], out)
		}
	})
	return kill
}

// start runs netd in the node.
func (l *lab) start(c Config) {
	l.t.Helper()
	text, err := json.Marshal(job{Config: c, Run: l.run, Working: l.working, Patience: l.patience})
	if err != nil {
		l.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	log := &safeBuffer{}
	cmd := exec.Command("ip", "netns", "exec", l.node, self)
	cmd.Env = append(os.Environ(), jobVar+"="+string(text))
	cmd.Stdout, cmd.Stderr = l.console, log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.stop = onceOnly(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("netd: %v", err)
		}
	})
	l.t.Cleanup(func() {
		l.stop()
		if l.t.Failed() {
			l.t.Logf("netd said:\n%s", log)
		}
	})
}

func onceOnly(f func()) func() {
	done := false
	return func() {
		if !done {
			done = true
			f()
		}
	}
}

// eventually waits until check returns nil.
func (l *lab) eventually(what string, check func() error) {
	l.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: %v", what, err)
		}
		select {
		case <-l.t.Context().Done():
			l.t.Fatal(what, l.t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (l *lab) state() (State, error) {
	var s State
	b, err := os.ReadFile(filepath.Join(l.run, "state.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// nodeHas waits until a command in the node prints all of the given lines' words.
func (l *lab) nodeHas(command string, want ...string) {
	l.t.Helper()
	l.eventually(command, func() error {
		out, err := exec.Command("ip", append([]string{"netns", "exec", l.node}, strings.Fields(command)...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				return fmt.Errorf("no %q in:\n%s", w, out)
			}
		}
		return nil
	})
}

// reach waits until a host answers; a link that has just come up may lose the
// first packets.
func (l *lab) reach(namespace, host string) {
	l.t.Helper()
	l.eventually("ping "+host, func() error {
		out, err := exec.Command("ip", "netns", "exec", namespace, "ping", "-c1", "-W1", host).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// onConsole waits for a line.
func (l *lab) onConsole(line string) {
	l.t.Helper()
	l.eventually("console", func() error {
		if !bytes.Contains([]byte(l.console.String()), []byte(line+"\n")) {
			return fmt.Errorf("no %q in:\n%s", line, l.console)
		}
		return nil
	})
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func hosts(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
