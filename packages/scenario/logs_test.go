//go:build vm

package scenario

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"micromirror/packages/slot"
	"micromirror/packages/syslog/syslogtest"
	"micromirror/packages/vm"
)

// What a node says reaches the fleet's collector over TLS, from the first boot on:
// the kernel, the services, who fetched what. A collector that is away costs
// nothing, and the next boot tells what the kernel said when it crashed.
func TestLogsReachTheCollector(t *testing.T) {
	t.Parallel()
	collector := syslogtest.New(t)
	_, port, err := net.SplitHostPort(collector.Addr)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "node.img")
	if err := Image(t.Context(), image, ImageOptions{Kind: Shipped, Fleet: func(f map[string]any) {
		f["telemetry"] = map[string]any{"syslog": syslogtest.Guest + ":" + port, "syslog_ca": collector.CA}
	}}); err != nil {
		t.Fatal(err)
	}
	m := vm.Prepare(t, vm.Config{Image: image})
	err = EditEntry(m.Disk(), slot.A, func(e slot.Entry) slot.Entry {
		e.Options += " unknown_nmi_panic" // the button to crash with
		return e
	})
	if err != nil {
		t.Fatal(err)
	}

	collector.Start()
	m.PowerOn()
	m.Wait(`mm httpd: serving on`)
	m.Wait(`mm logd: logs reach the collector`)
	m.Get("/robots.txt?first")
	collector.AwaitMatch(10*time.Minute,
		`kernel kernel Linux version `, `kernel kernel mm initrd: start`, // said before logd was there
		`netd service `, `syncd service `, `httpd service .*level=NOTICE msg="serving on`, `httpd access .*GET /robots.txt.first `)

	collector.Stop()
	m.Get("/robots.txt?second") // finds nobody, or gets lost on the way
	m.Wait(`mm logd: logs wait for the collector`)
	m.Get("/robots.txt?third")
	collector.Start()
	collector.AwaitMatch(10*time.Minute, `logd service .*logs wait for the collector`, `httpd access .*GET /robots.txt.third `)

	collector.Stop()
	if err := m.QMP(t.Context(), "inject-nmi", nil, nil); err != nil {
		t.Fatal(err)
	}
	m.Wait(`Kernel panic - not syncing`)
	m.WaitBoot()
	m.Wait(`mm logd: the kernel has crashed before this boot`)
	m.Get("/robots.txt?fourth")
	collector.Start()
	collector.AwaitMatch(10*time.Minute, `kernel crash dmesg-efi\S* .*Kernel panic - not syncing: NMI`, `httpd access .*GET /robots.txt.fourth `)
	if said(m, "crash record not taken") != 0 {
		t.Error("the crash record stays with the firmware")
	}
	m.Shutdown()
	ringIsBounded(t, m.Disk())
}

// ringIsBounded looks at the logs on the disk of a node that is off.
func ringIsBounded(t *testing.T, d vm.Disk) {
	t.Helper()
	dir := t.TempDir()
	if err := d.ExtractPerm("/state/logd", dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "logd/node.log*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the ring has no files: %v", err)
	}
	var size int64
	crashed := false
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		size += int64(len(data))
		crashed = crashed || strings.Contains(string(data), "Kernel panic - not syncing")
	}
	if size > 8<<20 || !crashed {
		t.Errorf("the ring has %d bytes, with the crash: %v", size, crashed)
	}
}
