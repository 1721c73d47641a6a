package resolver

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/net/dns/dnsmessage"
)

// server answers each question with what reply makes of it; nil is no answer.
func server(t *testing.T, reply func(q dnsmessage.Message) [][]byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(b[:n]) != nil {
				continue
			}
			for _, r := range reply(q) {
				if _, err := conn.WriteTo(r, from); err != nil {
					return
				}
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func answer(t testing.TB, q dnsmessage.Message, edit func(*dnsmessage.Message)) []byte {
	t.Helper()
	q.Response = true
	edit(&q)
	b, err := q.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func TestAsk(t *testing.T) {
	fine := func(*dnsmessage.Message) {}
	for name, c := range map[string]struct {
		reply func(q dnsmessage.Message) [][]byte
		want  string // "" is an answer
	}{
		"answers": {func(q dnsmessage.Message) [][]byte { return [][]byte{answer(t, q, fine)} }, ""},
		"refuses": {func(q dnsmessage.Message) [][]byte {
			return [][]byte{answer(t, q, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeRefused })}
		}, "answers with RCodeRefused"},
		"nothing behind it": {func(q dnsmessage.Message) [][]byte {
			return [][]byte{answer(t, q, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeServerFailure })}
		}, "answers with RCodeServerFailure"},
		"is silent": {func(dnsmessage.Message) [][]byte { return nil }, "no answer"},
		"forged answers before the right one": {func(q dnsmessage.Message) [][]byte {
			return [][]byte{{}, []byte("noise"), answer(t, q, func(m *dnsmessage.Message) { m.ID++ }), answer(t, q, func(m *dnsmessage.Message) { m.Questions = nil }),
				answer(t, q, func(m *dnsmessage.Message) { m.Response = false }), answer(t, q, fine)}
		}, ""},
	} {
		limit := time.Minute
		if c.want == "no answer" {
			limit = 50 * time.Millisecond
		}
		err := ask(t.Context(), server(t, c.reply), limit)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	q, err := query(7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(q)
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{question}}
	f.Add(answer(f, m, func(*dnsmessage.Message) {}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if check(7, b) == nil && (len(b) < 12 || b[0] != 0 || b[1] != 7) {
			t.Errorf("accepted %x", b)
		}
	})
}

func TestOrder(t *testing.T) {
	a := func(list ...string) (out []netip.Addr) {
		for _, s := range list {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	given, offered, public := a("192.0.2.1", "192.0.2.2"), a("198.51.100.1", "192.0.2.2"), a("203.0.113.1")
	for _, c := range []struct {
		name   string
		silent []netip.Addr
		tiers  [][]netip.Addr
		want   []netip.Addr
	}{
		{"all answer", nil, [][]netip.Addr{given, offered, public}, given},
		{"one is silent", a("192.0.2.1"), [][]netip.Addr{given, offered, public}, a("192.0.2.2", "192.0.2.1")},
		{"all given are silent", given, [][]netip.Addr{given, offered, public}, a("198.51.100.1", "192.0.2.1", "192.0.2.2")},
		{"the network's too", append(given, offered...), [][]netip.Addr{given, offered, public}, a("203.0.113.1", "192.0.2.1", "192.0.2.2")},
		{"public ones are not allowed", append(given, offered...), [][]netip.Addr{given, offered}, given},
		{"none was given", nil, [][]netip.Addr{nil, offered}, offered},
		{"nothing", nil, nil, nil},
	} {
		silent := map[netip.Addr]bool{}
		for _, s := range c.silent {
			silent[s] = true
		}
		if d := cmp.Diff(c.want, Order(silent, c.tiers...), cmpopts.EquateComparable(netip.Addr{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}
