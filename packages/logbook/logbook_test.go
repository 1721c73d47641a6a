package logbook

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	stdsyslog "log/syslog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/spool"
	"micromirror/packages/syslog"
	"micromirror/packages/syslog/syslogtest"
)

// fakeKernel gives one record a read and blocks when there are no more.
type fakeKernel struct {
	records chan string
	closed  chan struct{}
	once    sync.Once
}

func newKernel(records ...string) *fakeKernel {
	k := &fakeKernel{records: make(chan string, len(records)), closed: make(chan struct{})}
	for _, r := range records {
		k.records <- r
	}
	return k
}

func (k *fakeKernel) Read(p []byte) (int, error) {
	select {
	case r := <-k.records:
		if r == "" {
			return 0, syscall.EPIPE
		}
		return copy(p, r), nil
	default:
	}
	<-k.closed
	return 0, os.ErrClosed
}

func (k *fakeKernel) Close() error {
	k.once.Do(func() { close(k.closed) })
	return nil
}

// rig is a logbook with its sources.
type rig struct {
	*testing.T
	config Config
	access *spool.Log
	out    *strings.Builder // what it says itself
	stop   func()
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, out: &strings.Builder{}}
	for _, dir := range []*string{&r.config.Dir, &r.config.Run, &r.config.Crashes, &r.config.Access.Dir} {
		*dir = t.TempDir()
	}
	r.config.Host = "a.mirror.example"
	r.config.Access.Name, r.config.Access.Files = "access.log", 4
	r.config.Log = slog.New(slog.NewTextHandler(r.out, nil))
	r.access = spool.Open(spool.Config{Dir: r.config.Access.Dir, Name: "access.log", FileSize: 1000, Files: 4, Log: r.config.Log})
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// start runs the logbook until stop or the test's end.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, r.config) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
	r.Cleanup(r.stop)
}

// ring returns the ring's lines without time.
func (r *rig) ring() []string {
	r.Helper()
	data, err := os.ReadFile(filepath.Join(r.config.Dir, "node.log"))
	r.must(err)
	var lines []string
	for line := range strings.Lines(string(data)) {
		before, rest, _ := strings.Cut(line, " ")
		_, rest, _ = strings.Cut(rest, " ")
		lines = append(lines, before+" "+strings.TrimSuffix(rest, "\n"))
	}
	return lines
}

// awaitRing waits until the ring holds a text.
func (r *rig) awaitRing(text string) {
	r.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		if data, err := os.ReadFile(filepath.Join(r.config.Dir, "node.log")); err == nil && strings.Contains(string(data), text) {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("the ring lacks %q", text)
		}
	}
}

func TestSourcesReachTheRing(t *testing.T) {
	r := newRig(t)
	r.config.Kernel = newKernel(
		"6,1,100,-;Linux version 6.12\n SUBSYSTEM=x\n", "", "garbage", "13,2,200,-;mm httpd: serving\\x0a\n", "3,3,300,c;disk error")
	var err error
	r.config.Services, err = net.ListenPacket("udp", "127.0.0.1:0")
	r.must(err)
	r.must(os.WriteFile(filepath.Join(r.config.Crashes, "dmesg-efi_pstore-1"), []byte("Panic#1 Part1\n<0>[ 1.0] Kernel panic\n"), 0o600))
	r.must(os.Symlink("/etc/passwd", filepath.Join(r.config.Crashes, "link")))
	r.must(os.Mkdir(filepath.Join(r.config.Crashes, "dir"), 0o700))
	service, err := stdsyslog.Dial("udp", r.config.Services.LocalAddr().String(), stdsyslog.LOG_INFO, "/user/syncd")
	r.must(err)
	defer service.Close()
	for _, line := range []string{"time=x level=ERROR msg=bad", "panic: y", "plain"} {
		_, err := service.Write([]byte(line + "\n"))
		r.must(err)
	}
	r.start()
	for _, text := range []string{"plain", "disk error"} {
		r.awaitRing(text)
	}
	r.stop()
	var got []string
	for _, source := range []string{" crash ", " kernel ", " loss ", " service "} {
		for _, line := range r.ring() {
			if strings.Contains(line, " -"+source+"- ") {
				got = append(got, line)
			}
		}
	}
	const host = " a.mirror.example "
	want := []string{
		"<2>1" + host + "kernel - crash - dmesg-efi_pstore-1: Panic#1 Part1",
		"<2>1" + host + "kernel - crash - dmesg-efi_pstore-1: <0>[ 1.0] Kernel panic",
		"<6>1" + host + "kernel - kernel - Linux version 6.12",
		`<13>1` + host + `kernel - kernel - mm httpd: serving\x0A`,
		"<3>1" + host + "kernel - kernel - disk error",
		"<28>1" + host + "logd - loss - the kernel's log overflowed, records are lost",
		"<27>1" + host + "syncd - service - time=x level=ERROR msg=bad",
		"<26>1" + host + "syncd - service - panic: y",
		"<30>1" + host + "syncd - service - plain",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What was taken is gone from the store, what is no record stays there.
	left, err := os.ReadDir(r.config.Crashes)
	r.must(err)
	if len(left) != 2 || left[0].Name() != "dir" || left[1].Name() != "link" {
		t.Errorf("left in the store: %v", left)
	}
	for _, line := range r.ring() {
		if strings.Contains(line, "root:") {
			t.Errorf("a link was followed: %s", line)
		}
	}
}

// After a restart of the daemon, the kernel's log goes on where it was.
func TestKernelPlace(t *testing.T) {
	r := newRig(t)
	records := []string{"6,1,1,-;one", "6,2,2,-;two", "6,3,3,-;three"}
	r.config.Kernel = newKernel(records[:2]...)
	r.start()
	r.awaitRing("two")
	r.stop()
	r.config.Kernel = newKernel(records...)
	r.start()
	r.awaitRing("three")
	r.stop()
	var got []string
	for _, line := range r.ring() {
		got = append(got, line[strings.LastIndex(line, " ")+1:])
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// sink is how the rig reaches a collector.
func (r *rig) sink(c *syslogtest.Collector) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.CA))
	r.config.Sink = &syslog.Collector{Addr: c.Addr, Roots: roots, Patience: 5 * time.Second}
}

func accessLine(i int) string {
	return fmt.Sprintf("192.0.2.1 - - [22/Nov/2026:00:00:%02d +0000] \"GET /%d HTTP/1.1\" 200 0", i, i)
}

// Whatever happens to the collector and to the daemon, every line arrives.
func TestLogsSurviveTheCollectorsLoss(t *testing.T) {
	r := newRig(t)
	peer := syslogtest.New(t)
	r.sink(peer)
	next := 0
	var texts []string
	say := func(n int) {
		for range n {
			r.access.Write([]byte(accessLine(next) + "\n"))
			texts = append(texts, accessLine(next))
			next++
		}
	}
	r.config.Kernel = newKernel("6,1,1,-;a kernel line")
	texts = append(texts, "a kernel line")
	say(5)
	r.start() // without a collector
	r.awaitRing("a kernel line")
	say(5)
	peer.Start()
	peer.Await(texts...)
	peer.Stop()
	say(5)
	r.stop()
	say(5)
	r.config.Kernel = newKernel("6,2,2,-;another kernel line")
	texts = append(texts, "another kernel line")
	peer.Start()
	r.start()
	lines := peer.Await(texts...)
	if want := "134 2026-11-22T00:00:00.000000Z a.mirror.example httpd access " + accessLine(0); lines[1] != want {
		t.Errorf("got  %q\nwant %q", lines[1], want)
	}
	r.stop()
	if got := r.out.String(); strings.Contains(got, "overwritten") || !strings.Contains(got, "wait for the collector") || !strings.Contains(got, "reach the collector") {
		t.Errorf("it says:\n%s", got)
	}
}

// What has been overwritten before the collector came is told.
func TestQueueIsBounded(t *testing.T) {
	r := newRig(t)
	peer := syslogtest.New(t)
	r.sink(peer)
	r.config.Kernel = newKernel()
	r.access.Write([]byte("first\n"))
	peer.Start()
	r.start()
	peer.Await("first")
	r.stop()
	peer.Stop()
	for i := range 200 { // far more than four files of 1,000 bytes
		r.access.Write([]byte(accessLine(i%60) + "\n"))
	}
	r.access.Write([]byte("last\n"))
	peer.Start()
	r.config.Kernel = newKernel()
	r.start()
	peer.Await("last")
	r.stop()
	if !strings.Contains(r.out.String(), "lines were overwritten before the collector got them") {
		t.Errorf("it says:\n%s", r.out)
	}
}

func TestGate(t *testing.T) {
	g := newGate("x")
	passed := 0
	for range 3 * burst {
		passed += len(g.pass(syslog.Message{}))
	}
	if passed < burst || passed >= 2*burst {
		t.Errorf("%d of %d passed", passed, 3*burst)
	}
	dropped := g.dropped
	g.limit.SetBurst(3 * burst)
	g.limit.SetLimit(1e9)
	if got := g.pass(syslog.Message{Text: "next"}); dropped == 0 || len(got) != 2 || !strings.HasPrefix(got[0].Text, fmt.Sprint(dropped, " lines of x")) {
		t.Errorf("after %d were dropped: %+v", dropped, got)
	}
}

func TestSeverity(t *testing.T) {
	for line, want := range map[string]syslog.Severity{
		"time=x level=WARN msg=y": syslog.Warning, "fatal error: all goroutines are asleep": syslog.Critical,
		"level=NOTICE x": syslog.Notice, "goroutine 1 [running]:": syslog.Info, "level=DEBUG x": syslog.Debug,
	} {
		if got := severityOf(line); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}

func TestParseRecord(t *testing.T) {
	got, err := ParseRecord([]byte("30,4711,1234567,-,caller=T1;a: \\x1b[1m \\xzz ü\n SUBSYSTEM=pci\n"))
	want := Record{syslog.Daemon, syslog.Info, 4711, 1234567 * time.Microsecond, "a: \x1b[1m \\xzz ü"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	for _, bad := range []string{"", ";", "6,1,1", "6,1;x", "-6,1,1,-;x", "6,1,99999999999999999999,-;x"} {
		if r, err := ParseRecord([]byte(bad)); err == nil {
			t.Errorf("%q taken as %+v", bad, r)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte("6,1,1,-;text\\x0a"))
	f.Add([]byte("65535,18446744073709551615,1,-;\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err == nil && (r.Facility < 0 || r.Facility > 23 || r.Severity < 0 || r.Severity > 7 || r.SinceUp < 0) {
			t.Errorf("%+v", r)
		}
	})
}
