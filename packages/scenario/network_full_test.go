//go:build vm && full

package scenario

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"micromirror/packages/vm"
)

// A node with fixed addresses that do not fit where it stands takes what the network
// offers, be that at a host who was given wrong ones or on the maintainer's bench:
// there it fetches, to be full when it travels. It serves nobody, and asks no
// authority for a certificate that could not be proven.
func TestWrongGatewayIsRescued(t *testing.T) {
	t.Parallel()
	_, up := upstream(t, 1<<20)
	authority, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	go func() {
		if c, err := authority.Accept(); err == nil {
			c.Close()
			close(asked)
		}
	}()
	t.Cleanup(func() { authority.Close() })
	image := filepath.Join(t.TempDir(), "node.img")
	err = Image(t.Context(), image, ImageOptions{Kind: Shipped, Upstream: fmt.Sprintf("10.0.2.2:%d", up.Port()), Node: func(n map[string]any) {
		n["addresses"], n["gateways"] = []string{"192.0.2.10/24"}, []string{"192.0.2.1"}
	}, Fleet: func(f map[string]any) {
		f["acme"] = map[string]any{"directory": fmt.Sprintf("https://10.0.2.2:%d/", authority.Addr().(*net.TCPAddr).Port), "email": "noc@mirror.example"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{Image: image})
	m.Wait(`mm netd: address 192\.0\.2\.10/24 on wan0`)
	m.Wait(`mm netd: no gateway answers: check addresses and gateway`)
	m.Wait(`mm netd: address 10\.0\.2\.15/24 on wan0`)
	m.Wait(`mm syncd: demo-debian: published`)
	verdict(t, m, "bench", red)
	if page, err := get(t, m.URL("/")); err == nil {
		t.Errorf("serves on the bench: %.100s", page)
	}
	select {
	case <-asked:
		t.Error("asked for a certificate on the bench")
	default:
	}
}

// get is one request.
func get(t *testing.T, url string) ([]byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// A node that is told "dhcp" takes the addresses that DHCP and router advertisements
// offer, and serves.
func TestDHCPBoot(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "node.img")
	if err := Image(t.Context(), image, ImageOptions{Kind: Shipped}); err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{Image: image})
	m.Wait(`mm netd: address 10\.0\.2\.15/24 on wan0 gateway 10\.0\.2\.2`)
	m.Get("/")
}

// The same in a network that has nothing but router advertisements.
func TestRouterAdvertisementBoot(t *testing.T) {
	t.Parallel()
	image := filepath.Join(t.TempDir(), "node.img")
	if err := Image(t.Context(), image, ImageOptions{Kind: Shipped}); err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{Image: image, NIC: cableNIC, Extra: []string{
		"-netdev", "user,id=six,ipv4=off", "-device", "virtio-net-pci,netdev=six,romfile=,mac=52:54:00:6d:6d:66"}})
	cable(t, m, false)
	m.Wait(`mm netd: uplink wan0 mac=52:54:00:6d:6d:66 .*carrier=true`)
	m.Wait(`mm netd: address fec0::5054:ff:fe6d:6d66/64 on wan0 gateway fe80::2`)
	m.Wait(`mm updated: slot a healthy`)
}
