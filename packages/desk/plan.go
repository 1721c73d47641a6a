package desk

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"micromirror/packages/demand"
	"micromirror/packages/project"
)

// planForm is what plan is told.
type planForm struct {
	overview
	file  string
	disks []string
	keep  []string
}

// diskPlan is what one disk should hold.
type diskPlan struct {
	Disk string `json:"disk"`
	demand.Plan
}

func (d *desk) planCommand() *cobra.Command {
	var s planForm
	c := &cobra.Command{
		Use:   "plan --disk SIZE",
		Short: "choose the projects that serve most from a disk",
		Long: `Choose, for a disk of each given size, the projects that together serve the most
bytes a day. Demand comes from a file with lines of project,bytes_per_day or
project,bytes_per_day,bytes_on_disk, or else from what the fleet's nodes served
in the last day, on average of those that host a project. Sizes that are not told
are the catalogue's. CDN efficiency is bytes served a day for each byte on disk.`,
		Example: "  mirrorctl plan --demand demand.csv --disk 480GB --disk 2TB\n  mirrorctl plan --fleet fleet --disk 2TB --keep debian",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			plans, err := d.plan(c, &s)
			if err != nil {
				return err
			}
			return s.answer(c, plans, planText(plans))
		},
	}
	s.flags(c)
	c.Flags().StringVar(&s.file, "demand", "", "file with the demand; without it the nodes are asked")
	c.Flags().StringArrayVar(&s.disks, "disk", nil, "size of a disk, such as 480GB or 2TB; can be repeated")
	c.Flags().StringSliceVar(&s.keep, "keep", nil, "project that is to be there in any case")
	if err := c.MarkFlagRequired("disk"); err != nil {
		panic(err) // only for a flag that does not exist
	}
	return c
}

func (d *desk) plan(c *cobra.Command, s *planForm) ([]diskPlan, error) {
	known := Fleet(s.fleet).catalogue()
	wanted, err := d.demand(c, s)
	if err != nil {
		return nil, err
	}
	for i, p := range wanted {
		if k, ok := known[p.Name]; ok && p.Size == 0 {
			wanted[i].Size = int64(k.Size)
		}
		if wanted[i].Size == 0 {
			return nil, fmt.Errorf("%s: its size is not known; write it into the third column of the demand file", p.Name)
		}
	}
	for _, name := range s.keep {
		if slices.ContainsFunc(wanted, func(p demand.Project) bool { return p.Name == name }) {
			continue
		}
		k, ok := known[name]
		if !ok || k.Size == 0 {
			return nil, fmt.Errorf("--keep: %q is not known; use one of %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		wanted = append(wanted, demand.Project{Name: name, Size: int64(k.Size)})
	}
	return choose(wanted, s, known)
}

func choose(wanted []demand.Project, s *planForm, known map[string]project.Project) ([]diskPlan, error) {
	excludes := func(a, b string) bool {
		p, ok := known[a]
		q, also := known[b]
		return ok && also && p.Overlaps(&q)
	}
	var out []diskPlan
	for _, text := range s.disks {
		size, err := parseDisk(text)
		if err != nil {
			return nil, fmt.Errorf("--disk: %w", err)
		}
		plan := demand.Choose(wanted, demand.Room(size), s.keep, excludes)
		for _, name := range s.keep {
			if !slices.ContainsFunc(plan.Chosen, func(p demand.Project) bool { return p.Name == name }) {
				return nil, fmt.Errorf("--keep: %s does not fit on a disk of %s, which has room for %s, or excludes another that is kept", name, text, bytesText(plan.Room))
			}
		}
		out = append(out, diskPlan{text, plan})
	}
	return out, nil
}

// catalogue is the fleet's, or that of the release for want of a fleet.
func (f Fleet) catalogue() map[string]project.Project {
	for _, c := range f.configs() {
		return c.Fleet.Projects
	}
	return project.Catalogue()
}

// demand reads the file, or asks the nodes.
func (d *desk) demand(c *cobra.Command, s *planForm) ([]demand.Project, error) {
	if s.file != "" {
		f, err := os.Open(s.file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		list, err := demand.ParseCSV(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
		return list, nil
	}
	nodes, err := d.overview(c.Context(), &s.overview, nil)
	if err != nil {
		return nil, fmt.Errorf("%w; or give --demand FILE", err)
	}
	list := served(nodes)
	if len(list) == 0 {
		return nil, errors.New("no node told what it served; look at \"mirrorctl status\", or give --demand FILE")
	}
	return list, nil
}

// served is the average of the nodes that host a project.
func served(nodes []nodeStatus) []demand.Project {
	sums, hosts := map[string]demand.Project{}, map[string]int64{}
	for _, n := range nodes {
		if n.Projects == nil {
			continue
		}
		for _, p := range n.Projects.Projects {
			sum := sums[p.Name]
			sum.Name, sum.Daily, sum.Size = p.Name, sum.Daily+max(0, p.ServedDay), max(sum.Size, p.Size)
			sums[p.Name] = sum
			hosts[p.Name]++
		}
	}
	var out []demand.Project
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		p := sums[name]
		p.Daily /= hosts[name]
		out = append(out, p)
	}
	return out
}

func planText(plans []diskPlan) string {
	var b strings.Builder
	for _, p := range plans {
		fmt.Fprintf(&b, "disk of %s: room for %s, %s used, serves %s a day\n", p.Disk, bytesText(p.Room), bytesText(p.Used), bytesText(p.Daily))
		if !p.Exact {
			b.WriteString("(the search was ended before every set was ruled out)\n")
		}
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "  \tPROJECT\tSIZE\tSERVES A DAY\tCDN EFFICIENCY")
		for _, list := range []struct {
			mark     string
			projects []demand.Project
		}{{"yes", p.Chosen}, {"no", p.LeftOut}} {
			for _, k := range list.projects {
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%.2f\n", list.mark, oneWord(k.Name), bytesText(k.Size), bytesText(k.Daily), k.Efficiency())
			}
		}
		w.Flush()
	}
	return b.String()
}
