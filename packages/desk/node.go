package desk

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"micromirror/packages/durable"
	"micromirror/packages/node"
	"micromirror/packages/project"
)

func (d *desk) nodeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "node",
		Short: "add, check, list and remove the nodes of a fleet",
		Long: `A node is one file of about ten lines, FLEET/nodes/NAME.json. Change it with an
editor, then run "mirrorctl check" and "mirrorctl config publish".`,
	}
	check := checkCommand()
	check.Use, check.Short = "check NODE...", "check the files of the nodes named"
	check.Example = "  mirrorctl node check albuquerque --fleet fleet"
	check.Args = cobra.MinimumNArgs(1)
	c.AddCommand(d.nodeAddCommand(), check, nodeListCommand(), d.nodeRemoveCommand())
	return c
}

// nodeRow is what list says of a node.
type nodeRow struct {
	Name      string   `json:"name"`
	Host      string   `json:"host,omitempty"`
	Hardware  string   `json:"hardware,omitempty"`
	Sponsor   string   `json:"sponsor,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Projects  []string `json:"projects,omitempty"`
	Size      int64    `json:"size,omitempty"`     // of the projects
	HostKey   string   `json:"host_key,omitempty"` // fingerprint
	Error     string   `json:"error,omitempty"`
}

func nodeListCommand() *cobra.Command {
	var s site
	c := &cobra.Command{
		Use:     "list",
		Short:   "list the nodes",
		Example: "  mirrorctl node list --fleet fleet",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			rows, err := Fleet(s.fleet).rows()
			if err != nil {
				return err
			}
			return s.answer(c, rows, rowsText(rows))
		},
	}
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	return c
}

func (f Fleet) rows() ([]nodeRow, error) {
	names, err := f.Nodes()
	if err != nil {
		return nil, err
	}
	rows := []nodeRow{}
	for _, name := range names {
		cfg, err := f.Read(name)
		if err != nil {
			rows = append(rows, nodeRow{Name: name, Error: err.Error()})
			continue
		}
		rows = append(rows, nodeRow{Name: name, Host: cfg.Hostname(), Hardware: cfg.Node.Hardware, Sponsor: cfg.Node.Sponsor.Name,
			Addresses: addressList(cfg), Projects: cfg.Node.Projects, Size: treeSize(cfg.Projects()), HostKey: f.fingerprint(cfg)})
	}
	return rows, nil
}

// addressList is a node's addresses as its file has them.
func addressList(cfg *node.Config) []string {
	if cfg.Node.DHCP {
		return []string{"dhcp"}
	}
	var out []string
	for _, a := range cfg.Node.Addresses {
		out = append(out, a.String())
	}
	return out
}

func treeSize(projects []project.Project) (sum int64) {
	for _, p := range projects {
		sum += int64(p.Size)
	}
	return sum
}

func rowsText(rows []nodeRow) string {
	if len(rows) == 0 {
		return "no nodes yet: mirrorctl node add NAME\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tHARDWARE\tSPONSOR\tADDRESSES\tPROJECTS\tSIZE")
	for _, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(w, "%s\tmistakes, see: mirrorctl node check %s\n", r.Name, r.Name)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Hardware, r.Sponsor,
			strings.Join(r.Addresses, " "), strings.Join(r.Projects, " "), bytesText(r.Size))
	}
	w.Flush()
	return b.String()
}

func (d *desk) nodeRemoveCommand() *cobra.Command {
	var s site
	var yes string
	c := &cobra.Command{
		Use:   "remove NODE",
		Short: "take a node out of the fleet",
		Long: `Take a node out of the fleet: its file, its public key and its secrets. The box
serves on with what it has until somebody switches it off. Do first what
"mirrorctl register NODE" says about the projects' lists, so that nobody is sent
to it; afterwards run "mirrorctl config publish".`,
		Example: "  mirrorctl node remove albuquerque --fleet fleet --yes albuquerque",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, name := Fleet(s.fleet), args[0]
			if _, err := os.Stat(f.NodeFile(name)); err != nil {
				return err
			}
			if err := d.confirm(c, "remove", name, yes); err != nil {
				return err
			}
			if cfg, err := f.Read(name); err == nil {
				if err := f.pin(channelName(cfg), nil); err != nil {
					return err
				}
			}
			for _, file := range []string{f.SecretFile(name), f.PublicKeyFile(name), f.NodeFile(name)} {
				if err := durable.Remove(file); err != nil {
					return err
				}
			}
			return s.answer(c, map[string]string{"removed": name}, name+": removed; next: mirrorctl config publish\n")
		},
	}
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	c.Flags().StringVar(&yes, "yes", "", "the node's name once more, instead of being asked for it")
	return c
}

// confirm wants the node's name typed, as an answer or in --yes.
func (d *desk) confirm(c *cobra.Command, verb, name, yes string) error {
	if !c.Flags().Changed("yes") {
		var err error
		if yes, err = d.line(fmt.Sprintf("type %s to %s: ", name, verb)); err != nil {
			return fmt.Errorf("%s: %w; give --yes %s", verb, err, name)
		}
	}
	if strings.TrimSpace(yes) != name {
		return fmt.Errorf("%s: %q is not %q; nothing was done", verb, strings.TrimSpace(yes), name)
	}
	return nil
}

// bytesText is a size for people, with three digits.
func bytesText(n int64) string {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 5 {
		v, unit = v/1000, unit+1
	}
	name := []string{"B", "kB", "MB", "GB", "TB", "PB"}[unit]
	if v < 10 && unit > 0 {
		return fmt.Sprintf("%.1f %s", v, name)
	}
	return fmt.Sprintf("%.0f %s", v, name)
}
