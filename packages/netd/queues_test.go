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
