package hardware

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
)

// validator gathers what is wrong with a file.
type validator struct {
	file string
	errs []error
}

func (v *validator) bad(field, value, remedy string) {
	v.errs = append(v.errs, fmt.Errorf("%s: %s: %q: %s", v.file, field, value, remedy))
}

func (v *validator) need(field, value string) {
	if value == "" {
		v.bad(field, value, "must not be empty")
	}
}

func (v *validator) model(m Model) {
	v.need("title", m.Title)
	v.need("cpu", m.CPU)
	v.need("console.screen", m.Console.Screen)
	v.need("console.serial", m.Console.Serial)
	v.need("power_button", m.Button)
	if len(m.Watchdog) == 0 {
		v.bad("watchdog", "", "name at least one driver: a box nobody can touch needs it")
	}
	for i, w := range m.Watchdog {
		v.module(fmt.Sprintf("watchdog[%d].driver", i), w.Driver)
		for _, a := range w.After {
			v.module(fmt.Sprintf("watchdog[%d].after", i), a)
		}
	}
	for i, e := range m.Modules {
		v.module(fmt.Sprintf("modules[%d].module", i), e.Module)
		v.role(fmt.Sprintf("modules[%d].role", i), e.Role)
		v.need(fmt.Sprintf("modules[%d].why", i), e.Why)
	}
	for i, s := range m.BIOS {
		v.need(fmt.Sprintf("bios[%d].setting", i), s.Setting)
		v.need(fmt.Sprintf("bios[%d].value", i), s.Value)
		v.need(fmt.Sprintf("bios[%d].why", i), s.Why)
	}
	v.devices(m.Devices)
	v.firmware("microcode", m.Microcode)
	for _, f := range m.Microcode {
		if EarlyName(f.File) == "" {
			v.bad("microcode.file", f.File, "must be in amd-ucode/ or intel-ucode/")
		}
	}
}

func (v *validator) firmware(field string, files []Firmware) {
	for _, f := range files {
		v.need(field+".file", f.File)
		v.need(field+".without", f.Without)
		if f.File != "" && !fs.ValidPath(f.File) {
			v.bad(field+".file", f.File, "must be a path below /lib/firmware")
		}
	}
}

func (v *validator) devices(devices []Device) {
	ids := map[string]bool{}
	roles := map[Role]bool{}
	for i, d := range devices {
		field := fmt.Sprintf("devices[%d]", i)
		v.need(field+".name", d.Name)
		v.role(field+".role", d.Role)
		if _, err := d.Modalias(); err != nil {
			v.bad(field+".id", d.ID, err.Error())
		}
		if ids[d.ID] {
			v.bad(field+".id", d.ID, "is there twice; remove one")
		}
		ids[d.ID], roles[d.Role] = true, true
		if (d.Driver == "") == (d.Unused == "") {
			v.bad(field+".driver", d.Driver, "give either a driver or, in unused, the reason for none")
		}
		if d.Driver != "" {
			v.module(field+".driver", d.Driver)
		}
		v.firmware(field+".firmware", d.Firmware)
	}
	for _, r := range []Role{Storage, Network} {
		if !roles[r] {
			v.bad("devices", string(r), "no device has this role; a mirror needs one")
		}
	}
}

var moduleName = regexp.MustCompile(`^[a-z0-9A-Z_]+$`)

func (v *validator) module(field, name string) {
	if !moduleName.MatchString(name) {
		v.bad(field, name, "must be a module's name as in lsmod, with underscores")
	}
}

func (v *validator) role(field string, r Role) {
	roles := []Role{Storage, Network, USB, SMBus, Sensor, TimerDog, Button, Entropy, Other}
	if !slices.Contains(roles, r) {
		v.bad(field, string(r), fmt.Sprintf("must be one of %v", roles))
	}
}

var (
	shortID = regexp.MustCompile(`^(pci|usb):([0-9a-f]{4}):([0-9a-f]{4})$`)
	pciName = regexp.MustCompile(`^[0-9a-f]{6}$`)
	otherID = regexp.MustCompile(`^(acpi|platform|hid|dmi|cpu|i2c|auxiliary|virtio):[\x21-\x7e]+$`)
)

// Modalias is what the kernel would say the device is. Fields that the data does
// not know (subsystem, revision) are zero: a driver that claims the device only
// with certain values there does not count.
func (d Device) Modalias() (string, error) {
	s := shortID.FindStringSubmatch(d.ID)
	switch {
	case s == nil && otherID.MatchString(d.ID):
		return d.ID, nil
	case s == nil:
		return "", fmt.Errorf(`must be "pci:VVVV:DDDD", "usb:VVVV:PPPP" in lower-case hex, or another kind's modalias`)
	case s[1] == "usb":
		return fmt.Sprintf("usb:v%sp%sd0000dc00dsc00dp00ic00isc00ip00in00", upper(s[2]), upper(s[3])), nil
	case !pciName.MatchString(d.Class):
		return "", fmt.Errorf("class %q must be six lower-case hex digits, as in lspci -n plus the interface", d.Class)
	}
	c := upper(d.Class)
	return fmt.Sprintf("pci:v0000%sd0000%ssv00000000sd00000000bc%ssc%si%s", upper(s[2]), upper(s[3]), c[:2], c[2:4], c[4:]), nil
}

func upper(hex string) string {
	b := []byte(hex)
	for i, c := range b {
		if 'a' <= c && c <= 'f' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
