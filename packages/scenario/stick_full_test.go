//go:build vm && full

package scenario

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"micromirror/packages/node"
	"micromirror/packages/repository"
	"micromirror/packages/stick"
	"micromirror/packages/vm"
)

// port is a machine's USB port with a stick, or none, in it.
type port struct {
	t *testing.T
	m *vm.VM
	n int
}

func (p *port) qmp(command string, args map[string]any) {
	p.t.Helper()
	if err := p.m.QMP(p.t.Context(), command, args, nil); err != nil {
		p.t.Fatal(err)
	}
}

// change takes out the stick that is in, waits until it is gone, and puts in
// another one.
func (p *port) change(image string) {
	p.t.Helper()
	if p.n > 0 {
		p.qmp("device_del", map[string]any{"id": "stick"})
		p.m.WaitEvent("DEVICE_DELETED", p.n)
		p.m.Wait(`USB disconnect`)
	}
	p.n++
	name := "stick" + string(rune('0'+p.n))
	p.qmp("blockdev-add", map[string]any{"driver": "raw", "node-name": name, "file": map[string]any{"driver": "file", "filename": image}})
	p.qmp("device_add", map[string]any{"driver": "usb-storage", "id": "stick", "bus": "usb.0", "drive": name})
}

// fat makes a FAT file system of a floppy's kind, without partitions, with files.
func fat(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "stick.img")
	tool := func(argv ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
		}
	}
	tool("mformat", "-i", image, "-C", "-F", "-T", "131072", "::")
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		tool("mcopy", "-i", image, file, "::"+name)
	}
	return image
}

// packed is what the desk puts on a stick for the demo node.
func packed(t *testing.T, o *Office) []byte {
	t.Helper()
	files, err := stick.Collect(os.DirFS(o.Repository.Dir), repository.NodeTarget("demo"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := stick.Pack(files)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// publish signs the demo node's files, the node file edited.
func publish(t *testing.T, o *Office, edit func(n map[string]any)) {
	t.Helper()
	files := map[string][]byte{}
	for target, name := range map[string]string{repository.FleetTarget: node.FleetFile, repository.NodeTarget("demo"): "nodes/demo.json"} {
		b, err := os.ReadFile(filepath.Join(o.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "nodes/") {
			var n map[string]any
			if err := json.Unmarshal(b, &n); err != nil {
				t.Fatal(err)
			}
			edit(n)
			if b, err = json.Marshal(n); err != nil {
				t.Fatal(err)
			}
		}
		files[target] = b
	}
	if _, err := o.Repository.SetConfig(t.Context(), files); err != nil {
		t.Fatal(err)
	}
}

func closedOffice(t *testing.T) *Office {
	t.Helper()
	o, err := OpenOffice(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// A node with wrong addresses, at a host without DHCP and far from its desk, takes
// the right ones from a USB stick, and nothing from any other stick.
func TestNodeFileFromAStick(t *testing.T) {
	t.Parallel()
	wrong := func(n map[string]any) {
		n["addresses"], n["gateways"] = []string{"192.0.2.10/24"}, []string{"192.0.2.1"}
	}
	right := func(n map[string]any) {
		n["addresses"], n["gateways"], n["dns"] = []string{"10.0.2.15/24"}, []string{"10.0.2.2"}, []string{"10.0.2.3"}
	}
	office := closedOffice(t)
	image := filepath.Join(t.TempDir(), "node.img")
	if err := Image(t.Context(), image, ImageOptions{Kind: Shipped, Office: office, Node: wrong}); err != nil {
		t.Fatal(err)
	}
	publish(t, office, right)
	stranger := closedOffice(t)
	stranger.Dir = office.Dir // the same files, other keys
	publish(t, stranger, right)

	m := vm.Start(t, vm.Config{Image: image, NIC: cableNIC, Extra: []string{"-device", "qemu-xhci,id=usb"}})
	p := &port{t: t, m: m}
	m.Wait(`mm netd: address 192\.0\.2\.10/24 on wan0`)
	garbage := filepath.Join(t.TempDir(), "garbage.img")
	if err := os.WriteFile(garbage, bytes.Repeat([]byte("\xebX\x90garbage"), 1<<17), 0o644); err != nil {
		t.Fatal(err)
	}
	file := stick.FileName("demo")
	for _, bad := range []struct{ image, want string }{
		{garbage, `the stick cannot be read`},
		{fat(t, map[string][]byte{stick.FileName("other"): packed(t, office)}), `the stick has a file for "other", this box is "demo"`},
		{fat(t, map[string][]byte{file: make([]byte, 40<<20)}), `has more than \d+ bytes`},
		{fat(t, map[string][]byte{file: packed(t, stranger)}), `not signed by the keys that this node trusts`},
	} {
		p.change(bad.image)
		m.Wait(`mm updated: stick: refused: .*` + bad.want)
	}
	verdict(t, m, "stick-refused", red)
	p.change(fat(t, map[string][]byte{file: packed(t, office)}))
	m.Wait(`mm updated: stick: trying`)
	m.Wait(`mm netd: address 10\.0\.2\.15/24 on wan0 gateway 10\.0\.2\.2`)
	m.Wait(`mm updated: configuration \S+ is good`)
	m.Get("/")
	verdict(t, m, "stick-taken", yellow) // it works; there is nothing to mirror from
}
