//go:build vm && full

package scenario

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"micromirror/packages/demo"
	"micromirror/packages/desk"
	"micromirror/packages/slot"
	"micromirror/packages/vm"
)

// A box whose disk has lost its boot files, a root file system and both copies of the
// partition table is repaired by a stick, by a host who only plugs it in, switches on,
// and pulls it out: it is the same node, and serves the mirror that it had.
func TestRescueStick(t *testing.T) {
	t.Parallel()
	const size = 6 << 30
	dir, up := upstream(t, 1<<20)
	work := t.TempDir()
	fleet, image, stick := filepath.Join(work, "fleet"), filepath.Join(work, "node.img"), filepath.Join(work, "stick.img")
	release, err := Shipped.Dir()
	if err != nil {
		t.Fatal(err)
	}
	o := ImageOptions{Upstream: "10.0.2.2:" + strconv.Itoa(up.Port()), Fleet: func(f map[string]any) {
		f["firewall"] = map[string]any{"allow": []string{"10.0.2.2/32"}}
		f["manage"] = map[string]any{"keys": []string{keyFile(t, filepath.Join(work, "id"))}, "port": channelPort}
	}}
	if err := writeFleet(fleet, filepath.Join(release, "..", "..", "images", "demo"), o); err != nil {
		t.Fatal(err)
	}
	if err := desk.Image(t.Context(), desk.ImageOptions{Fleet: desk.Fleet(fleet), Node: "demo", Release: release, Size: 4 << 30, Out: image}); err != nil {
		t.Fatal(err)
	}
	makeStick(t, fleet, "demo", release, stick)

	before := vm.Prepare(t, vm.Config{Image: image, Size: size, Timeout: orderLimit})
	if err := EditEntry(before.Disk(), slot.A, func(e slot.Entry) slot.Entry { e.Generation = 7; return e }); err != nil {
		t.Fatal(err) // it has seen updates
	}
	before.PowerOn()
	key := hostKey(before)
	for range len(demo.Modules()) + 1 { // in whatever order they come
		before.Wait(`mm syncd: demo-\w+: published|mm updated: slot a healthy, re-armed`)
	}
	before.Shutdown()
	before.Retire()
	up.Close() // what is served from now on is what the disk has kept
	wreck(t, before.Disk(), size)

	m := vm.Start(t, vm.Config{Disk: before.Disk().Path, Timeout: orderLimit, Extra: startFrom(stick)})
	m.Wait(`mm initrd: rescue: this is the rescue stick of node demo`)
	m.Wait(`mm initrd: rescue: writing release \S+ to sd[a-z] .* 6 GB`)
	m.Wait(`mm initrd: rescue: DONE: .*Pull the stick out now`)
	pullOut(t, m)

	m.Wait(`mm initrd: /perm \S+ is clean`)
	m.Wait(`mm initrd: switching root`)
	if got := hostKey(m); got != key {
		t.Errorf("the host key is %s, want that of before, %s", got, key)
	}
	if r := nodeReport(t, m); r.Node != "demo.mirror.example" {
		t.Errorf("the node says that it is %q", r.Node)
	}
	for _, module := range demo.Modules() {
		m.Get("/" + module + "/")
		differences, err := demo.DiffHTTP(t.Context(), demo.Tree(dir, module), m.URL("/"+module+"/"))
		report(t, differences, err)
	}
	m.Wait(`mm updated: slot a healthy, re-armed`)
	m.Shutdown()
	permFills(t, m, size)
	if a, b := entry(t, m, slot.A), entry(t, m, slot.B); a.TriesLeft != slot.FullTries || b.Bad() || a.Release != b.Release {
		t.Errorf("entries %+v and %+v", a, b)
	}
	if n := said(m, "made anew") + said(m, "identity restored"); n != 0 {
		t.Errorf("/perm has lost what it had")
	}
}

// A stick that is in the wrong box writes nothing, says so, and lets the box go on as
// it was.
func TestRescueStickOfAnotherNode(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	release, err := Shipped.Dir()
	if err != nil {
		t.Fatal(err)
	}
	other := ImageOptions{Upstream: "10.0.2.2:1", Node: func(n map[string]any) { n["name"] = "other" }}
	if err := writeFleet(work, filepath.Join(release, "..", "..", "images", "demo"), other); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(work, "nodes", "demo.json"), filepath.Join(work, "nodes", "other.json")); err != nil {
		t.Fatal(err)
	}
	stick := filepath.Join(work, "stick.img")
	makeStick(t, work, "other", release, stick)

	image := baseImage(t, Shipped)
	m := vm.Start(t, vm.Config{Image: image, Timeout: orderLimit, Extra: startFrom(stick)})
	const failed = `mm initrd: rescue: FAILED: no disk of node other here; what there is: sd[a-z] .*: is the disk of node demo; nothing was written`
	m.Wait(failed)
	m.Wait(failed) // it waits for somebody, and goes on saying so
	if out, err := exec.CommandContext(t.Context(), "cmp", image, m.Disk().Path).CombinedOutput(); err != nil {
		t.Errorf("the disk was written: %v: %s", err, out)
	}
	pullOut(t, m)
	m.Wait(`mm initrd: root /dev/\S+ mounted`)
	if n := len(m.Boots()); n != 2 {
		t.Errorf("%d kernels were started, want the stick's and the disk's", n)
	}
}

// startFrom puts a stick into a machine's USB port, from which the firmware starts
// first.
func startFrom(stick string) []string {
	return []string{"-device", "qemu-xhci,id=usb", "-drive", "if=none,id=stick,format=raw,cache=unsafe,file=" + stick,
		"-device", "usb-storage,id=stick,bus=usb.0,drive=stick,bootindex=0"}
}

func pullOut(t *testing.T, m *vm.VM) {
	t.Helper()
	if err := m.QMP(t.Context(), "device_del", map[string]any{"id": "stick"}, nil); err != nil {
		t.Fatal(err)
	}
	m.Wait(`mm initrd: rescue: the stick is out, rebooting`)
}

func makeStick(t *testing.T, fleet, node, release, out string) {
	t.Helper()
	c := desk.Command()
	var told bytes.Buffer
	c.SetArgs([]string{"rescue", "--fleet", fleet, "--node", node, "--yes", node, "--release", release, "--out", out})
	c.SetOut(&told)
	c.SetErr(&told)
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, told.String())
	}
}

// hostKey waits for the node's daemon that maintainers ask.
func hostKey(m *vm.VM) string {
	return m.Wait(`mm managed: answering maintainers on .*host_key=(SHA256:\S{43})`).Groups[1]
}

// wreck overwrites what a disk starts from, and all that says how it is divided.
func wreck(t *testing.T, d vm.Disk, size int64) {
	t.Helper()
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	for _, p := range []vm.Partition{vm.ESP, vm.RootA} {
		if err := d.Scramble(p, 0, 64<<20); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int64{0, size - int64(len(noise))} {
		if err := d.WriteRaw(at, noise); err != nil {
			t.Fatal(err)
		}
	}
}
