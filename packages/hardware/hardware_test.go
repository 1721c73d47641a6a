package hardware_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/earlyboot"
	"micromirror/packages/hardware"
	"micromirror/packages/kmod"
)

func models(t *testing.T) []hardware.Model {
	t.Helper()
	m, err := hardware.Load(os.DirFS("../../hardware"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestModelsOfTheRepository(t *testing.T) {
	var got []string
	for _, m := range models(t) {
		got = append(got, m.Model)
		if m.Model != "qemu" && (len(m.BIOS) == 0 || len(m.OnlyReal) == 0) {
			t.Errorf("%s: a real box needs a BIOS checklist and a list of what only it can show", m.Model)
		}
	}
	want := []string{"dell-r220", "hp-t620", "hp-t620-plus", "hp-t740", "qemu"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("models (-want +got):\n%s", d)
	}
}

// TestWatchdogsAreTried holds the models' order of watchdogs against the one
// that the initramfs tries them in.
func TestWatchdogsAreTried(t *testing.T) {
	order := earlyboot.WatchdogModules()
	for _, m := range models(t) {
		last := -1
		for _, w := range m.Watchdog {
			for _, mod := range append(slices.Clone(w.After), w.Driver) {
				i := slices.Index(order, mod)
				if i < 0 {
					t.Errorf("%s: the initramfs does not try %s", m.Model, mod)
				}
				if i < last {
					t.Errorf("%s: the initramfs tries %s in another order: %v", m.Model, mod, order)
				}
				last = max(last, i)
			}
		}
	}
}

func TestInitramfsHasWhatItLoads(t *testing.T) {
	got := hardware.Modules(hardware.Needs(models(t)), true)
	stick := []string{"xhci_pci", "ehci_pci", "usb_storage", "uas"} // to a rescue stick
	for _, mod := range slices.Concat(earlyboot.FixedModules(), earlyboot.WatchdogModules(), stick) {
		if !slices.Contains(got, mod) {
			t.Errorf("%s is loaded in the initramfs but not packed into it", mod)
		}
	}
}

func TestLateModules(t *testing.T) {
	all := models(t)
	late := hardware.Late(all)
	for _, name := range []string{"drivetemp", "coretemp", "acpi_cpufreq", "usb_storage"} {
		if !slices.Contains(late, name) {
			t.Errorf("%s is not loaded late, so never: %v", name, late)
		}
	}
	shipped := hardware.Modules(hardware.Needs(all), false)
	for _, name := range late {
		if !slices.Contains(shipped, name) || name == "realtek" {
			t.Errorf("%s is loaded late", name)
		}
	}
}

// good is a model that passes; each case below spoils one thing.
const good = `{
	"model": "box", "title": "Box", "cpu": "some", "microcode": [{"file": "amd-ucode/x.bin", "without": "old"}],
	"devices": [
		{"id": "pci:8086:2922", "class": "010601", "name": "SATA", "role": "storage", "driver": "ahci"},
		{"id": "pci:10ec:8168", "class": "020000", "name": "Ethernet", "role": "network", "driver": "r8169",
			"firmware": [{"file": "rtl_nic/a.fw", "without": "works"}]},
		{"id": "acpi:PNP0C0C:", "name": "Button", "role": "button", "unused": "nobody presses it"}
	],
	"watchdog": [{"driver": "sp5100_tco"}],
	"console": {"screen": "tty0", "serial": "ttyS0"}, "power_button": "ACPI",
	"bios": [{"setting": "After Power Loss", "value": "On", "why": "alone"}], "only_real": ["all"]
}`

func TestParseRefuses(t *testing.T) {
	if _, err := hardware.Parse("box.json", []byte(good)); err != nil {
		t.Fatalf("the good model: %v", err)
	}
	for _, c := range []struct{ old, new, err string }{
		{`"title"`, `"titel"`, `unknown field "titel"`},
		{`"model": "box"`, `"model": "bax"`, `box.json: model: "bax"`},
		{`"cpu": "some"`, `"cpu": ""`, "cpu"},
		{`[{"driver": "sp5100_tco"}]`, `[]`, "watchdog"},
		{`"sp5100_tco"`, `"sp5100-tco"`, "underscores"},
		{`pci:8086:2922`, `pci:8086:292`, "devices[0].id"},
		{`pci:8086:2922`, `pci:10EC:2922`, "lower-case hex"},
		{`"010601"`, `"0106"`, "class"},
		{`"pci:10ec:8168"`, `"pci:8086:2922"`, "twice"},
		{`"role": "network"`, `"role": "nic"`, "devices[1].role"},
		{`"driver": "ahci"`, `"optional": true`, "devices[0].driver"},
		{`"unused": "nobody presses it"`, `"unused": "x", "driver": "button"`, "devices[2].driver"},
		{`"without": "works"`, `"without": ""`, "firmware.without"},
		{`"rtl_nic/a.fw"`, `"../a.fw"`, "below /lib/firmware"},
		{`"amd-ucode/x.bin"`, `"amd/x.bin"`, "must be in amd-ucode/ or intel-ucode/"},
		{`"why": "alone"`, `"why": ""`, "bios[0].why"},
		{`"role": "storage"`, `"role": "other"`, "no device has this role"},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if text == good {
			t.Fatalf("%q is not in the good model", c.old)
		}
		if _, err := hardware.Parse("box.json", []byte(text)); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s instead of %s: error %v, want %q", c.new, c.old, err, c.err)
		}
	}
	if _, err := hardware.Parse("box.json", []byte(good+good)); err == nil {
		t.Error("two models in one file were accepted")
	}
}

func TestLoadReportsEveryFile(t *testing.T) {
	_, err := hardware.Load(fstest.MapFS{
		"a.json": {Data: []byte(`{`)}, "b.json": {Data: []byte(good)}, "box.json": {Data: []byte(good)},
	})
	if err == nil || !strings.Contains(err.Error(), "a.json") || !strings.Contains(err.Error(), "b.json") {
		t.Errorf("error %v, want both bad files", err)
	}
	if _, err := hardware.Load(fstest.MapFS{}); err == nil {
		t.Error("an empty folder was accepted")
	}
}

func TestModalias(t *testing.T) {
	for _, c := range []struct{ id, class, want string }{
		{"pci:10ec:8168", "020000", "pci:v000010ECd00008168sv00000000sd00000000bc02sc00i00"},
		{"usb:0bda:c811", "", "usb:v0BDApC811d0000dc00dsc00dp00ic00isc00ip00in00"},
		{"acpi:PNP0C0C:", "", "acpi:PNP0C0C:"},
	} {
		got, err := hardware.Device{ID: c.id, Class: c.class}.Modalias()
		if err != nil || got != c.want {
			t.Errorf("modalias of %s = %q, %v; want %q", c.id, got, err, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	m, err := hardware.Parse("box.json", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	shipped := []kmod.Module{
		{Name: "r8169", Aliases: []string{"pci:v000010ECd00008168sv*sd*bc*sc*i*"}, Firmware: []string{"rtl_nic/a.fw"}},
		{Name: "ahci", Aliases: []string{"pci:v*d*sv*sd*bc01sc06i01*"}},
		{Name: "lib"},
	}
	none := func(string) bool { return false }
	for _, c := range []struct {
		name   string
		change func(m []kmod.Module)
		built  func(string) bool
		want   []string
	}{
		{"all well", func([]kmod.Module) {}, none, []string{"", "", ""}},
		{"other IDs", func(m []kmod.Module) { m[1].Aliases = nil }, none, []string{"ahci does not claim it ()", "", ""}},
		{"built in", func(m []kmod.Module) { m[1].Aliases = nil }, func(n string) bool { return n == "ahci" }, []string{"", "", ""}},
		{"other firmware", func(m []kmod.Module) { m[0].Firmware = nil }, none, []string{"", "r8169 never asks for firmware rtl_nic/a.fw", ""}},
	} {
		mods := slices.Clone(shipped)
		c.change(mods)
		var got []string
		for _, f := range hardware.Check([]hardware.Model{m}, mods, c.built) {
			got = append(got, f.Problem)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestUnneeded(t *testing.T) {
	shipped := []kmod.Module{{Name: "a", Depends: []string{"b"}, Pre: []string{"absent"}}, {Name: "b"}, {Name: "c"}}
	got := hardware.Unneeded([]hardware.Need{{Module: "a"}}, shipped)
	if d := cmp.Diff([]string{"c"}, got); d != "" {
		t.Errorf("unneeded (-want +got):\n%s", d)
	}
}

func TestReport(t *testing.T) {
	m, err := hardware.Parse("box.json", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	shipped := []kmod.Module{{Name: "r8169", Aliases: []string{"pci:v000010ECd00008168sv*sd*bc*sc*i*"}}, {Name: "idle"}}
	var out strings.Builder
	err = hardware.Report(&out, []hardware.Model{m}, shipped, func(n string) bool { return n == "ahci" }, func(n string) bool { return n == "amd-ucode/x.bin" })
	if err == nil || !strings.Contains(err.Error(), "r8169 never asks for firmware") || !strings.Contains(err.Error(), "module idle ships") {
		t.Errorf("error %v, want both problems", err)
	}
	for _, want := range []string{"ahci (built in)", "Button (no driver: nobody presses it)", "rtl_nic/a.fw not shipped: works", "microcode amd-ucode/x.bin shipped", "2 problems"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

func TestCheckNames(t *testing.T) {
	m, err := hardware.Parse("box.json", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	ids := "# comment\n10ec  Realtek\n\t8168  Ethernet\n\t\t1028 0001  Sub\n8086  Intel\n\t2922  82801 SATA\nC 01  Class\n\t2922  no device\n"
	got, err := hardware.CheckNames([]hardware.Model{m}, strings.NewReader(ids))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{`box: pci:8086:2922 is "82801 SATA" in pci.ids, not "SATA"`}, got); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := hardware.Parse("box.json", b)
		if err != nil {
			return
		}
		for _, d := range m.Devices {
			if _, err := d.Modalias(); err != nil {
				t.Errorf("accepted, but %v", err)
			}
		}
		hardware.Needs([]hardware.Model{m})
	})
}

func FuzzCheckNames(f *testing.F) {
	f.Add("10ec  Realtek\n\t8168  Ethernet\n")
	f.Fuzz(func(t *testing.T, ids string) {
		hardware.CheckNames([]hardware.Model{{Devices: []hardware.Device{{ID: "pci:10ec:8168"}}}}, strings.NewReader(ids))
	})
}
