package hardware

import (
	"fmt"
	"slices"
	"strings"

	"micromirror/packages/kmod"
)

// Finding is one device held against the kernel that ships.
type Finding struct {
	Model   string
	Device  Device
	Claims  []string // modules shipped that claim the device
	Problem string   // empty if all is well
}

// Check holds every device of every model against the alias tables of the
// modules shipped. A driver that is built into the kernel ships in any case; its
// table cannot be read (Linux keeps none for those before 6.17).
func Check(models []Model, shipped []kmod.Module, builtin func(module string) bool) []Finding {
	var out []Finding
	for _, m := range models {
		for _, d := range m.Devices {
			f := Finding{Model: m.Model, Device: d}
			alias, err := d.Modalias()
			if err != nil {
				f.Problem = err.Error()
			} else {
				f.Claims = kmod.Claims(shipped, alias)
				f.Problem = d.problem(f.Claims, shipped, builtin)
			}
			out = append(out, f)
		}
	}
	return out
}

func (d Device) problem(claims []string, shipped []kmod.Module, builtin func(string) bool) string {
	if d.Driver == "" || builtin(d.Driver) {
		return ""
	}
	if !slices.Contains(claims, d.Driver) {
		return fmt.Sprintf("%s does not claim it (%s)", d.Driver, strings.Join(claims, ", "))
	}
	i := slices.IndexFunc(shipped, func(m kmod.Module) bool { return m.Name == d.Driver })
	for _, f := range d.Firmware {
		if !slices.Contains(shipped[i].Firmware, f.File) {
			return fmt.Sprintf("%s never asks for firmware %s", d.Driver, f.File)
		}
	}
	return ""
}

// Unneeded lists the modules shipped that nobody in needs asked for, directly or
// by dependency.
func Unneeded(needs []Need, shipped []kmod.Module) []string {
	byName := map[string]kmod.Module{}
	for _, m := range shipped {
		byName[m.Name] = m
	}
	used := map[string]bool{}
	queue := Modules(needs, false)
	for len(queue) > 0 {
		m := byName[queue[0]]
		if queue = queue[1:]; !used[m.Name] {
			used[m.Name] = true
			queue = slices.Concat(queue, m.Depends, m.Pre, m.Post)
		}
	}
	var idle []string
	for _, m := range shipped {
		if !used[m.Name] {
			idle = append(idle, m.Name)
		}
	}
	return idle
}
