package vm

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// onConsole returns a console that has been on since now and got these writes.
func onConsole(writes ...string) *console {
	c := newConsole(&bytes.Buffer{}, nil)
	c.powerOn(time.Now())
	for _, w := range writes {
		c.Write([]byte(w))
	}
	return c
}

func texts(lines []Line) (out []string) {
	for _, l := range lines {
		out = append(out, l.Text)
	}
	return out
}

func TestConsoleLines(t *testing.T) {
	for _, c := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"split anywhere", []string{"on", "e\r", "\ntwo\r\n", "\r\n\r\nthree"}, []string{"one", "two"}},
		{"escapes", []string{"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[0mBds\x1b[1mDxe\x1b(B: x  \r\n"}, []string{"BdsDxe: x"}},
		{"escape split by writes", []string{"a\x1b[", "0mb\n"}, []string{"ab"}},
		{"not text", []string{"a\x00\x07b\tc\xff\n"}, []string{"ab\tc\ufffd"}},
		{"never ended", []string{strings.Repeat("x", maxLine+1)}, []string{strings.Repeat("x", maxLine+1)}},
	} {
		if diff := cmp.Diff(c.want, texts(onConsole(c.writes...).all())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What a machine wrote last need not have ended its line.
func TestConsoleUnendedLine(t *testing.T) {
	if l, ok := onConsole("one\n").unended(); ok {
		t.Errorf("unended %q", l.Text)
	}
	if l, ok := onConsole("one\n", "\x1b[0mtw").unended(); !ok || l.Text != "tw" || l.Cycle != 1 {
		t.Errorf("unended %+v, %v", l, ok)
	}
}

func TestConsoleStampsAndCycles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var told []Line
		c := newConsole(&log, func(l Line) { told = append(told, l) })
		c.powerOn(time.Now())
		time.Sleep(1500 * time.Millisecond)
		c.Write([]byte("first\ncut off"))
		c.powerOn(time.Now())
		time.Sleep(time.Second)
		c.Write([]byte("second\n"))
		want := []Line{{1, 1500 * time.Millisecond, "first"}, {1, 1500 * time.Millisecond, "cut off"}, {2, time.Second, "second"}}
		if diff := cmp.Diff(want, c.all()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		if got := log.String(); !strings.Contains(got, "    1.50 first\n") || !strings.Contains(got, "---- power on 2\n") {
			t.Errorf("log is\n%s", got)
		}
	})
}

func TestWaitLooksAtWhatFollows(t *testing.T) {
	c := onConsole("tick 1\ntick 2\nprompt>")
	never, off := t.Context(), make(chan struct{})
	tick := regexp.MustCompile(`tick (\d)`)
	for _, want := range []string{"1", "2"} {
		if m, err := c.wait(never, tick, off); err != nil || m.Groups[1] != want {
			t.Errorf("tick %v, %v; want %s", m.Groups, err, want)
		}
	}
	if m, err := c.wait(never, regexp.MustCompile(`^prompt>`), off); err != nil || m.Text != "prompt>" {
		t.Errorf("unended line: %+v, %v", m, err)
	}
	close(off)
	if _, err := c.wait(never, tick, off); err == nil || !strings.Contains(err.Error(), "went off") || !strings.Contains(err.Error(), "tick 2") {
		t.Errorf("error = %v; want that the machine went off, and the console's end", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.wait(ctx, tick, make(chan struct{})); err == nil {
		t.Error("a cancelled wait succeeded")
	}
}

func TestWaitForAWholeLine(t *testing.T) {
	c := onConsole("Command line: ro")
	whole := regexp.MustCompile(`^Command line: (.*)$`)
	if m, ok, _ := c.find(whole); ok {
		t.Errorf("found %q, which has not ended", m.Text)
	}
	c.Write([]byte("ot=x\n"))
	if m, ok, _ := c.find(whole); !ok || m.Groups[1] != "root=x" {
		t.Errorf("found %+v, want the whole line", m)
	}
}

func TestWaitWakesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := onConsole("old\n")
		go func() {
			time.Sleep(time.Hour)
			c.Write([]byte("noise\nnew"))
			time.Sleep(time.Hour)
			c.Write([]byte("s\n"))
		}()
		m, err := c.wait(t.Context(), regexp.MustCompile(`^news$`), make(chan struct{}))
		if err != nil || m.At != 2*time.Hour {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

func TestBootsAndTimeline(t *testing.T) {
	const guid = "0a1b2c3d-0000-4000-8000-00000000abcd"
	text := `BdsDxe: starting Boot0001 "UEFI QEMU HARDDISK"
[    0.000000] Linux version 6.12.1 (x@y)
[    0.000000] Command line: initrd=\slot-a\initrd root=PARTUUID=` + guid + `/PARTNROFF=1 ro
[    0.012345] Kernel command line: initrd=\slot-a\initrd root=PARTUUID=` + guid + `/PARTNROFF=1 ro
[    1.000000] mm initrd: start
[    2.000000] mm initrd: start again
Command line: root=PARTUUID=` + guid + `/PARTNROFF=2
Command line: root=/dev/sda1
`
	c := onConsole(text)
	var slots []string
	for _, b := range boots(c.all()) {
		slots = append(slots, b.Slot)
	}
	if diff := cmp.Diff([]string{"a", "b", ""}, slots); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	want := []Mark{{Name: "firmware"}, {Name: "kernel"}, {Name: "initrd"}}
	if diff := cmp.Diff(want, timeline(c.all(), 1), cmpopts.IgnoreFields(Mark{}, "At")); diff != "" {
		t.Errorf("milestones (-want +got):\n%s", diff)
	}
	if got := timeline(c.all(), 2); got != nil {
		t.Errorf("milestones of another cycle: %v", got)
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("a\x1b[1;2Hb\r\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		at = max(0, min(at, len(b)))
		whole, split := onConsole(string(b)), onConsole(string(b[:at]), string(b[at:]))
		if len(b) > maxLine {
			return // where a line without end is cut depends on the writes
		}
		if diff := cmp.Diff(texts(whole.all()), texts(split.all())); diff != "" {
			t.Errorf("lines depend on the writes:\n%s", diff)
		}
		boots(whole.all())
	})
}
