package hardware

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"micromirror/packages/kmod"
)

// Report prints which module claims each device of each model, and what ships
// for whom; firmware says whether a file ships. Its error lists all that does not
// fit.
func Report(w io.Writer, models []Model, shipped []kmod.Module, builtin, firmware func(name string) bool) error {
	var problems []error
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tab, "MODEL\tDEVICE\tROLE\tDRIVER\tNAME")
	for _, f := range Check(models, shipped, builtin) {
		d := f.Device
		driver, name := d.text(builtin)
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\n", f.Model, d.ID, d.Role, driver, name)
		reportFirmware(tab, "firmware", d.Firmware, firmware)
		if f.Problem != "" {
			problems = append(problems, fmt.Errorf("%s: %s %s: %s", f.Model, d.ID, d.Name, f.Problem))
		}
	}
	for _, m := range models {
		if len(m.Microcode) > 0 {
			fmt.Fprintf(tab, "%s\tcpu\tcpu\t-\t%s\n", m.Model, m.CPU)
			reportFirmware(tab, "microcode", m.Microcode, firmware)
		}
	}
	needs := Needs(models)
	fmt.Fprintln(tab, "\nMODULE\tINITRAMFS\tFOR")
	for _, n := range needs {
		fmt.Fprintf(tab, "%s\t%s\t%s\n", n.Module, map[bool]string{true: "yes"}[n.Initrd], strings.Join(n.By, " "))
	}
	for _, name := range Unneeded(needs, shipped) {
		problems = append(problems, fmt.Errorf("module %s ships, but no model or program needs it", name))
	}
	fmt.Fprintf(tab, "\n%d modules asked for, %d ship with what these depend on, %d problems\n", len(needs), len(shipped), len(problems))
	return errors.Join(append(problems, tab.Flush())...)
}

func reportFirmware(w io.Writer, kind string, files []Firmware, ships func(string) bool) {
	for _, f := range files {
		if ships(f.File) {
			fmt.Fprintf(w, "\t\t\t\t%s %s shipped\n", kind, f.File)
		} else {
			fmt.Fprintf(w, "\t\t\t\t%s %s not shipped: %s\n", kind, f.File, f.Without)
		}
	}
}

func (d Device) text(builtin func(string) bool) (driver, name string) {
	switch {
	case d.Driver == "":
		return "-", d.Name + " (no driver: " + d.Unused + ")"
	case builtin(d.Driver):
		return d.Driver + " (built in)", d.Name
	}
	return d.Driver, d.Name
}
