package syslog

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/syslog"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/syslog/syslogtest"
)

var when = time.Date(2026, 11, 22, 1, 2, 3, 456789000, time.FixedZone("", 3600))

func TestAppend(t *testing.T) {
	for name, test := range map[string]struct {
		m    Message
		want string
	}{
		"full": {
			Message{Local0, Info, when, "a.mirror.example", "httpd", "access", `192.0.2.1 "GET /é"`},
			`<134>1 2026-11-22T00:02:03.456789Z a.mirror.example httpd - access - 192.0.2.1 "GET /é"`,
		},
		"empty":   {Message{}, "<0>1 - - - - - - "},
		"hostile": {Message{Daemon, Debug, time.Time{}, "a b\n", "é", "-", "x\n<0>1\x7f\xff"}, "<31>1 - a_b_ __ - - - x\\x0A<0>1\\x7F\uFFFD"},
	} {
		if diff := cmp.Diff(test.want, string(test.m.Append(nil))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("host", "app", "id", "text\n")
	f.Add(strings.Repeat("h", 300), "\x00", "", strings.Repeat("é", MaxMessage))
	f.Fuzz(func(t *testing.T, host, app, id, text string) {
		m := Message{Facility: Daemon, Severity: Info, Host: host, App: app, ID: id, Text: text}
		b := m.Append([]byte("before"))[len("before"):]
		if len(b) > MaxMessage || bytes.ContainsAny(b, "\n\r\x00") || !utf8.Valid(b) {
			t.Errorf("%d bytes: %q", len(b), b)
		}
		if fields := bytes.SplitN(b, []byte(" "), 8); len(fields) != 8 || string(fields[6]) != "-" {
			t.Errorf("header of %q", b)
		}
	})
}

func TestParseLocal(t *testing.T) {
	got, err := ParseLocal([]byte("<11>2026-11-22T01:02:03+01:00 (none) /user/httpd[1]: time=x level=INFO: y [z]: \n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Message{Facility: 1, Severity: Error, Time: when.Truncate(time.Second), App: "/user/httpd", Text: "time=x level=INFO: y [z]: "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, bad := range []string{"", "<", "<14>", "14>x", "<192>2026-11-22T01:02:03Z h t[1]: x", "<14>now h t[1]: x", "<14>2026-11-22T01:02:03Z h t: x",
		"<14>2026-11-22T01:02:03Z h t[1]"} {
		if m, err := ParseLocal([]byte(bad)); err == nil {
			t.Errorf("%q taken as %+v", bad, m)
		}
	}
}

// The standard library's writer is what init uses.
func TestParseWhatTheLibrarySends(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w, err := syslog.Dial("udp", conn.LocalAddr().String(), syslog.LOG_INFO, "/user/syncd")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Write([]byte("panic: x\n")); err != nil {
		t.Fatal(err)
	}
	packet := make([]byte, 2000)
	n, _, err := conn.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseLocal(packet[:n])
	if err != nil || got.App != "/user/syncd" || got.Text != "panic: x" || got.Severity != Info {
		t.Errorf("%q: %+v, %v", packet[:n], got, err)
	}
}

func FuzzParseLocal(f *testing.F) {
	f.Add([]byte("<14>2026-11-22T00:00:00Z host tag[1]: text"))
	f.Add([]byte("<0>2026-11-22T00:00:00+01:00 [ []: "))
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := ParseLocal(packet)
		if err == nil && (m.Facility < 0 || m.Facility > 23 || m.Severity < 0 || m.Severity > 7) {
			t.Errorf("%+v", m)
		}
	})
}

func frame(text string) []byte {
	m := Message{Daemon, Warning, when, "node", "app", "kind", text}
	return AppendFrame(nil, m.Append(nil))
}

func collector(c *syslogtest.Collector) *Collector {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.CA))
	return &Collector{Addr: c.Addr, Roots: roots, Patience: 10 * time.Second}
}

func TestRsyslogOverTLS(t *testing.T) {
	peer := syslogtest.New(t)
	peer.Start()
	s, err := collector(peer).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	long := strings.Repeat("long ", 1500)
	var batch []byte
	for _, text := range []string{"first", "with é and <1>1", long} {
		batch = append(batch, frame(text)...)
	}
	if err := s.Send(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	got := peer.Await("first", "with é and <1>1", long)
	if want := "28 2026-11-22T00:02:03.456789Z node app kind first"; got[0] != want {
		t.Errorf("got %q, want %q", got[0], want)
	}
}

// What is sent after the collector has gone is refused, not lost.
func TestCollectorGoes(t *testing.T) {
	peer := syslogtest.New(t)
	peer.Start()
	s, err := collector(peer).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Send(t.Context(), frame("one")); err != nil {
		t.Fatal(err)
	}
	peer.Stop()
	for i := 0; ; i++ { // its end may take a moment to arrive
		if err := s.Send(t.Context(), frame("two")); err != nil {
			break
		}
		if i == 100 {
			t.Fatal("messages to nobody are confirmed")
		}
	}
	if _, err := collector(peer).Dial(t.Context()); err == nil {
		t.Error("connected to nobody")
	}
}

func TestCollectorMustProveItsName(t *testing.T) {
	peer := syslogtest.New(t)
	peer.Start()
	c := collector(peer)
	c.Roots = x509.NewCertPool()
	if _, err := c.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("%v, want an unknown authority", err)
	}
}

// A collector that takes nothing is given up in time.
func TestCollectorThatTakesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &Collector{Addr: l.Addr().String(), Patience: 50 * time.Millisecond}
	if _, err := c.Dial(context.Background()); err == nil {
		t.Error("a handshake with nobody succeeded")
	}
}

func ExampleAppendFrame() {
	fmt.Printf("%s\n", AppendFrame(nil, []byte("<14>1 - - - - - - x")))
	// Output: 19 <14>1 - - - - - - x
}
