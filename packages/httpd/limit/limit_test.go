package limit

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func rules() Rules {
	r := Default()
	r.Connections, r.ConnectionsPerNetwork, r.RequestsPerSecond, r.Burst = 5, 2, 10, 3
	r.Blocked = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	r.BlockedAgents = []string{"BadBot"}
	return r
}

func TestAdmit(t *testing.T) {
	table := NewTable(rules())
	clients := map[string]*Client{}
	for _, step := range []struct {
		do, addr string
		want     int
	}{
		{"open", "192.0.2.1", 0}, {"open", "192.0.2.2", 0},
		{"open", "192.0.2.3", 429}, // same /24
		{"open", "::ffff:192.0.2.9", 429},
		{"open", "192.0.3.1", 0},
		{"open", "2001:db8::1", 0},
		{"open", "198.51.100.7", 403},
		{"open", "127.0.0.1", 0},
		{"open", "127.0.0.2", 503}, // node full
		{"close", "192.0.2.1", 0},
		{"open", "192.0.2.3", 0},
		{"close", "127.0.0.1", 0},
		{"open", "2001:db8:0:ff::2", 0}, // same /56
	} {
		if step.do == "close" {
			clients[step.addr].Done()
			continue
		}
		c, got := table.Admit(netip.MustParseAddr(step.addr), start)
		if got != step.want {
			t.Errorf("%s: %d, want %d", step.addr, got, step.want)
		}
		clients[step.addr] = c
	}
	if table.Open() != 5 {
		t.Errorf("%d open, want 5", table.Open())
	}
}

func TestRequests(t *testing.T) {
	table := NewTable(rules())
	a, _ := table.Admit(netip.MustParseAddr("192.0.2.1"), start)
	b, _ := table.Admit(netip.MustParseAddr("192.0.2.2"), start)
	free, _ := table.Admit(netip.MustParseAddr("::1"), start)
	var got []int
	for _, c := range []*Client{a, b, a, b, free, a} {
		got = append(got, c.Request(start, []byte("apt")))
	}
	got = append(got, a.Request(start.Add(100*time.Millisecond), nil), b.Request(start.Add(100*time.Millisecond), nil))
	got = append(got, free.Request(start, []byte("a BadBot/1.0")))
	if diff := cmp.Diff([]int{0, 0, 0, 429, 0, 429, 0, 429, 403}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestQuietNetworksAreForgotten(t *testing.T) {
	table := NewTable(Default())
	for i := range 100 {
		c, _ := table.Admit(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}), start)
		c.Done()
	}
	table.Admit(netip.MustParseAddr("192.0.2.1"), start.Add(2*time.Minute))
	if n := len(table.networks); n != 1 {
		t.Errorf("%d networks remembered, want 1", n)
	}
}

func TestParse(t *testing.T) {
	r, err := Parse([]byte(`{"connections_per_network": 7, "blocked": ["192.0.2.0/24"], "later": 1}`))
	if err != nil || r.ConnectionsPerNetwork != 7 || len(r.Blocked) != 1 || r.Connections != Default().Connections {
		t.Errorf("got %+v, %v", r, err)
	}
	for _, bad := range []string{"", "{", `{"connections":0}`, `{"blocked":["x"]}`, `{"burst":0}`} {
		if _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%q) succeeded", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"connections":1,"exempt":["::/0"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := Parse(data); err == nil && (r.Connections < 1 || r.ConnectionsPerNetwork < 1) {
			t.Fatalf("rules that let nobody in: %+v", r)
		}
	})
}

func TestFollow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limits.json")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var out strings.Builder
		table := NewTable(Default())
		done := make(chan struct{})
		go func() {
			defer close(done)
			table.Follow(ctx, file, time.Second, slog.New(slog.NewTextHandler(&out, nil)))
		}()
		synctest.Wait()
		for _, step := range []struct {
			content string
			want    int
		}{{`{"connections":11}`, 11}, {`{"connections":-1}`, 11}, {`{"connections":1234}`, 1234}} {
			if err := os.WriteFile(file, []byte(step.content), 0o644); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second) // of the bubble's clock
			synctest.Wait()
			if got := table.rules.Load().Connections; got != step.want {
				t.Errorf("after %s: %d, want %d", step.content, got, step.want)
			}
		}
		cancel()
		<-done
		if n := strings.Count(out.String(), "limits not changed"); n != 1 {
			t.Errorf("broken file reported %d times", n)
		}
	})
}

func TestHandshakeCountsAsManyRequests(t *testing.T) {
	r := rules()
	r.RequestsPerSecond, r.Burst = 10, 50
	table := NewTable(r)
	c, _ := table.Admit(netip.MustParseAddr("192.0.2.1"), start)
	var got []bool
	for _, after := range []time.Duration{0, 0, 0, time.Second, 2 * time.Second} { // 50 tokens, 20 a handshake, 10 a second
		got = append(got, c.Handshake(start.Add(after)))
	}
	if diff := cmp.Diff([]bool{true, true, false, true, false}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	exempt, _ := table.Admit(netip.MustParseAddr("127.0.0.1"), start)
	for range 100 {
		if !exempt.Handshake(start) {
			t.Fatal("an exempt network is bounded")
		}
	}
}
