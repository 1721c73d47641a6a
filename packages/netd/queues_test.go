package netd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/netd/uplink"
)

func TestSpread(t *testing.T) {
	sys := t.TempDir()
	queue := func(port, name string) string { return filepath.Join(sys, "class/net", port, "queues", name) }
	for _, dir := range []string{queue("one", "rx-0"), queue("one", "tx-0"), queue("four", "rx-0"), queue("four", "rx-1"), queue("four", "rx-2"), queue("four", "rx-3")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"rps_cpus", "rps_flow_cnt"} {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := spread(sys, []uplink.NIC{{Name: "one"}, {Name: "four"}, {Name: "none"}}, 4); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range []string{queue("one", "rx-0/rps_cpus"), queue("one", "rx-0/rps_flow_cnt"), queue("one", "tx-0/rps_cpus"), queue("four", "rx-0/rps_cpus")} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got[f[len(sys):]] = string(b)
	}
	want := map[string]string{
		"/class/net/one/queues/rx-0/rps_cpus": "f", "/class/net/one/queues/rx-0/rps_flow_cnt": "32768",
		"/class/net/one/queues/tx-0/rps_cpus": "", "/class/net/four/queues/rx-0/rps_cpus": "",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("queues (-want +got):\n%s", d)
	}
}

func TestMask(t *testing.T) {
	for n, want := range map[int]string{1: "1", 4: "f", 32: "ffffffff", 40: "ff,ffffffff"} {
		if got := mask(n); got != want {
			t.Errorf("mask(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestPin(t *testing.T) {
	sys := t.TempDir()
	file := func(port string, i int) string {
		return filepath.Join(sys, "class/net", port, "queues", "tx-"+string(rune('0'+i)), "xps_cpus")
	}
	for port, queues := range map[string][]string{"one": {"0\n"}, "two": {"0\n", "0\n"}, "mlx4": {"1\n", "2\n"}, "six": {"00,00000000", "0", "0", "0", "0", "0"}} {
		for i, mask := range queues {
			if err := os.MkdirAll(filepath.Dir(file(port, i)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file(port, i), []byte(mask), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pin(sys, []uplink.NIC{{Name: "one"}, {Name: "two"}, {Name: "mlx4"}, {Name: "six"}, {Name: "none"}}, 4); err != nil {
		t.Fatal(err)
	}
	for port, want := range map[string][]string{"one": {"0\n"}, "two": {"5", "a"}, "mlx4": {"1\n", "2\n"}, "six": {"1", "2", "4", "8", "0", "0"}} {
		for i, mask := range want {
			b, err := os.ReadFile(file(port, i))
			if err != nil {
				t.Fatal(err)
			}
			if string(b) != mask {
				t.Errorf("%s tx-%d: %q, want %q", port, i, b, mask)
			}
		}
	}
	if got := share(1, 20, 40); got != "0,200002" {
		t.Errorf("share = %s", got)
	}
}
