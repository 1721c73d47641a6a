package lldp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

func info() Info {
	return Info{
		Port: "wan0", Name: "zrh1.mirrors.example.net", Description: "Micro Mirror, hosted by Example Networks",
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")},
	}
}

func TestLastPDUIsShort(t *testing.T) {
	got := PDU(net.HardwareAddr{2, 0, 0, 0, 0, 1}, 3, 0, info())
	want := "\x02\x07\x04\x02\x00\x00\x00\x00\x01" + "\x04\x05\x05wan0" + "\x06\x02\x00\x00" + "\x00\x00"
	if string(got) != want {
		t.Errorf("pdu = %q, want %q", got, want)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	i := info()
	i.Name, i.Description = strings.Repeat("n", 5000), strings.Repeat("d", 5000)
	for range 50 {
		i.Addresses = append(i.Addresses, i.Addresses[0])
	}
	if n := len(PDU(net.HardwareAddr{2, 0, 0, 0, 0, 1}, 3, 120, i)); n > 1400 {
		t.Errorf("pdu of %d bytes", n)
	}
}

// neighbour is what lldpd says in JSON, as far as the test looks.
type neighbour struct {
	LLDP struct {
		Interface map[string]struct {
			Chassis map[string]struct {
				Descr  string   `json:"descr"`
				MgmtIP []string `json:"mgmt-ip"`
			} `json:"chassis"`
		} `json:"interface"`
	} `json:"lldp"`
}

func TestLldpdReadsUs(t *testing.T) {
	node, world := fmt.Sprintf("mm-lldp-node-%d", os.Getpid()), fmt.Sprintf("mm-lldp-net-%d", os.Getpid())
	for _, line := range []string{
		"netns add " + node, "netns add " + world,
		"-n " + node + " link add wan0 type veth peer name up0 netns " + world,
		"-n " + node + " link set wan0 up", "-n " + world + " link set up0 up",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
	}
	t.Cleanup(func() {
		exec.Command("ip", "netns", "del", node).Run()
		exec.Command("ip", "netns", "del", world).Run()
	})
	dir, err := os.MkdirTemp("", "lldp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // lldpd is another user
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "socket")
	daemon := exec.Command("ip", "netns", "exec", world, "lldpd", "-d", "-u", socket, "-I", "up0", "-H", "0")
	var said strings.Builder
	daemon.Stdout, daemon.Stderr = &said, &said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Process.Signal(os.Interrupt)
		daemon.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	kick, done := make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with us
		ns, err := netns.GetFromName(node)
		if err == nil {
			err = netns.Set(ns)
		}
		if err != nil {
			done <- err
			return
		}
		ifi, err := net.InterfaceByName("wan0")
		if err != nil {
			done <- err
			return
		}
		done <- Run(ctx, ifi.Index, kick, info)
	}()
	seen := func() (neighbour, error) {
		var n neighbour
		out, err := exec.Command("lldpcli", "-u", socket, "-f", "json", "show", "neighbors").Output()
		if err == nil {
			err = json.Unmarshal(out, &n)
		}
		return n, err
	}
	wait := func(what string, ok func(neighbour) bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			n, err := seen()
			if err == nil && ok(n) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: lldpd says %+v, %v", what, n, err)
			}
			select {
			case kick <- struct{}{}:
			case err := <-done:
				t.Fatal(err)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	wait("announced", func(n neighbour) bool {
		c, ok := n.LLDP.Interface["up0"].Chassis[info().Name]
		return ok && c.Descr == info().Description && strings.Join(c.MgmtIP, " ") == "192.0.2.10 2001:db8::10"
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if n, err := seen(); err == nil && len(n.LLDP.Interface) == 0 {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("still announced: %+v, %v", n, err)
		}
	}
}
