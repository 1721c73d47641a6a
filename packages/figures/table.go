package figures

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the report as a table.
func (r *Report) Print(out io.Writer) error {
	fmt.Fprintf(out, "release %s, measured %s on %d CPUs with %s, load %.1f at the start\n\n",
		r.Release, r.Measured.Format("2006-01-02 15:04 MST"), r.CPUs, r.Accelerator, r.Load)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tFIGURE\tVALUE\tAIM\tNOTE")
	last := ""
	for _, f := range r.Figures {
		group, aim := f.Group, ""
		if group == last {
			group = ""
		}
		last = f.Group
		if f.Aim > 0 {
			aim = fmt.Sprintf("≤ %g", f.Aim)
			if f.Value > f.Aim {
				aim += ", missed"
			}
		}
		if f.Failed != "" {
			reason, _, _ := strings.Cut(f.Failed, "\n")
			fmt.Fprintf(w, "%s\t%s\tnot measured\t\t%s\n", group, f.Name, reason)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f %s\t%s\t%s\n", group, f.Name, f.Value, f.Unit, aim, f.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(table.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}
