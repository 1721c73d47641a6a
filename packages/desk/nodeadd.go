package desk

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/demand"
	"micromirror/packages/durable"
	"micromirror/packages/node"
)

// nodeForm is what add asks for, as typed.
type nodeForm struct {
	hardware, sponsor, sponsorURL, addresses, gateways, dns, projects, location, disk string

	bond, aliases, rate string
	vlan, mtu           int
	disableDSCP         bool
	models              string // folder
}

func (f *nodeForm) questions() []question {
	return []question{
		{"hardware", "model of the box", "hp-t620-plus", false, &f.hardware},
		{"sponsor", "name of who hosts it", "Example Networks", false, &f.sponsor},
		{"sponsor-url", "the host's web page", "https://www.example.net/", false, &f.sponsorURL},
		{"addresses", "addresses with prefix length, or dhcp", "192.0.2.10/24,2001:db8::10/64", false, &f.addresses},
		{"gateways", "gateways", "192.0.2.1,fe80::1", true, &f.gateways},
		{"dns", "name servers", "192.0.2.53,2001:db8::53", true, &f.dns},
		{"projects", "projects to host", "gimp,videolan", false, &f.projects},
		{"disk", "size of its disk", "2TB", false, &f.disk},
		{"location", "continent/country/state/city", "na/us/nm/albuquerque", true, &f.location},
	}
}

func (d *desk) nodeAddCommand() *cobra.Command {
	var s site
	var form nodeForm
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "add a node to the fleet",
		Long: `Add a node: check what is told, or asked for on a terminal, and write
FLEET/nodes/NAME.json. It must be right by itself, share no name or address with
another node of the fleet, and its projects must fit on its disk. Nothing is
written if something is wrong.`,
		Example: "  mirrorctl node add albuquerque --fleet fleet --hardware hp-t620-plus \\\n" +
			"    --sponsor \"Example Networks\" --sponsor-url https://www.example.net/ \\\n" +
			"    --addresses 192.0.2.10/24,2001:db8::10/64 --gateways 192.0.2.1,fe80::1 \\\n" +
			"    --dns 192.0.2.53 --projects gimp,videolan --disk 1TB --location na/us/nm/albuquerque",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			added, err := d.addNode(c, Fleet(s.fleet), args[0], &form)
			if err != nil {
				return err
			}
			return s.answer(c, added, added.text(s.fleet))
		},
	}
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	for _, q := range form.questions() {
		c.Flags().StringVar(q.value, q.flag, "", q.prompt+", such as "+q.example)
	}
	c.Flags().StringVar(&form.bond, "bond", "", "network cards of an 802.3ad bond: drivers, PCI paths or MAC addresses")
	c.Flags().IntVar(&form.vlan, "vlan", 0, "802.1Q number; 0 for untagged")
	c.Flags().IntVar(&form.mtu, "mtu", 0, "bytes in a packet; 0 for what the network says")
	c.Flags().StringVar(&form.aliases, "aliases", "", "further names that lead to the node, for its certificate")
	c.Flags().StringVar(&form.rate, "sync-rate", "", "bound on all its transfers together in bytes a second, such as 50M")
	c.Flags().BoolVar(&form.disableDSCP, "disable-dscp", false, "leave packets unmarked (otherwise CS1, scavenger)")
	c.Flags().StringVar(&form.models, "models", "hardware", "folder with the models' files; if it is not there the model is not checked")
	return c
}

// added is the answer of add.
type added struct {
	File     string `json:"file"`
	Host     string `json:"host"`
	Projects int64  `json:"projects_size"`
	Room     int64  `json:"room"`
	name     string
}

func (a *added) text(fleet string) string {
	return fmt.Sprintf("%s: %s, projects of about %s in %s\nnext: mirrorctl flash --fleet %s --node %s --disk /dev/DISK, and mirrorctl card %[6]s --fleet %[5]s\n",
		a.File, a.Host, bytesText(a.Projects), bytesText(a.Room), fleet, a.name)
}

func (d *desk) addNode(c *cobra.Command, f Fleet, name string, form *nodeForm) (*added, error) {
	if _, err := os.Stat(f.File()); err != nil {
		return nil, fmt.Errorf(`--fleet: %w; "mirrorctl init" begins a fleet`, err)
	}
	if _, err := os.Stat(f.NodeFile(name)); err == nil {
		return nil, fmt.Errorf("%s is there already: change it with an editor, or take another name", f.NodeFile(name))
	}
	if err := d.fill(c, form.questions()); err != nil {
		return nil, err
	}
	if err := knownModel(form.models, form.hardware); err != nil {
		return nil, err
	}
	size, err := parseDisk(form.disk)
	if err != nil {
		return nil, fmt.Errorf("--disk: %w", err)
	}
	file, err := form.object(name)
	if err != nil {
		return nil, err
	}
	data, err := file.lines()
	if err != nil {
		return nil, err
	}
	cfg, err := f.tryNode(name, data)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(clashes(cfg, f.configs()), fits(cfg, size)); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(f.NodeFile(name)), 0o755); err != nil {
		return nil, err
	}
	a := &added{File: f.NodeFile(name), Host: cfg.Hostname(), Projects: treeSize(cfg.Projects()), Room: demand.Room(size), name: name}
	return a, durable.WriteFile(a.File, data, 0o644)
}

// object is the node file; what is not told is left out.
func (f *nodeForm) object(name string) (object, error) {
	o := object{{"name", name}, {"hardware", f.hardware}, {"sponsor", object{{"name", f.sponsor}, {"url", f.sponsorURL}}}, {"addresses", words(f.addresses)}}
	if f.gateways != "" {
		o = append(o, field{"gateways", gatewayList(f.gateways)})
	}
	if f.dns != "" {
		o = append(o, field{"dns", words(f.dns)})
	}
	if f.bond != "" {
		o = append(o, field{"bond", object{{"members", words(f.bond)}}})
	}
	if f.vlan != 0 {
		o = append(o, field{"vlan", f.vlan})
	}
	if f.mtu != 0 {
		o = append(o, field{"mtu", f.mtu})
	}
	o = append(o, field{"projects", words(f.projects)})
	if f.location != "" {
		parts := strings.Split(f.location, "/")
		if len(parts) != 4 {
			return nil, fmt.Errorf("--location: %q is not continent/country/state/city; leave a part empty that does not apply, like eu/de//berlin", f.location)
		}
		o = append(o, field{"location", object{{"continent", parts[0]}, {"country", parts[1]}, {"state_province", parts[2]}, {"city", parts[3]}}})
	}
	if f.aliases != "" {
		o = append(o, field{"aliases", words(f.aliases)})
	}
	if f.rate != "" {
		o = append(o, field{"sync_rate", f.rate})
	}
	if f.disableDSCP {
		o = append(o, field{"disable_dscp", true})
	}
	return o, nil
}

// gatewayList keeps "192.0.2.1 onlink" together.
func gatewayList(s string) []string {
	var out []string
	for _, w := range words(s) {
		if w == "onlink" && len(out) > 0 {
			out[len(out)-1] += " onlink"
			continue
		}
		out = append(out, w)
	}
	return out
}

// tryNode checks a node file that is not written yet.
func (f Fleet) tryNode(name string, data []byte) (*node.Config, error) {
	fleet, err := os.ReadFile(f.File())
	if err != nil {
		return nil, err
	}
	return try(f.File(), fleet, f.NodeFile(name), data)
}

// knownModel wants the model's file, where the folder is at hand.
func knownModel(dir, model string) error {
	models, err := modelsIn(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, m := range models {
		names = append(names, m.Model)
	}
	if len(names) == 0 || slices.Contains(names, model) {
		return nil
	}
	return fmt.Errorf("--hardware: %q is not known; use one of %s, or describe it in %s/%s.json", model, strings.Join(names, ", "), dir, model)
}

// configs reads the nodes that are right.
func (f Fleet) configs() []*node.Config {
	names, err := f.Nodes()
	if err != nil {
		return nil // a fleet without nodes has no folder for them
	}
	var out []*node.Config
	for _, name := range names {
		if c, err := f.Read(name); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// clashes says what the node shares with others of the fleet.
func clashes(cfg *node.Config, others []*node.Config) error {
	var problems []error
	for _, o := range others {
		if o.Node.Name != cfg.Node.Name {
			problems = append(problems, clash(cfg, o)...)
		}
	}
	return errors.Join(problems...)
}

func clash(a, b *node.Config) (problems []error) {
	for _, p := range a.Node.Addresses {
		if slices.ContainsFunc(b.Node.Addresses, func(o netip.Prefix) bool { return o.Addr() == p.Addr() }) {
			problems = append(problems, fmt.Errorf("node %s: addresses: %s is the address of node %s, too: ask the host which is right", a.Node.Name, p.Addr(), b.Node.Name))
		}
	}
	if slices.Contains(a.Names(), b.Hostname()) {
		problems = append(problems, fmt.Errorf("node %s: aliases: %s is the name of node %s: choose another", a.Node.Name, b.Hostname(), b.Node.Name))
	}
	return problems
}

// fits says when the projects do not fit on a disk.
func fits(cfg *node.Config, disk int64) error {
	need, room := treeSize(cfg.Projects()), demand.Room(disk)
	if need <= room {
		return nil
	}
	return fmt.Errorf("projects of about %s do not fit: a disk of %s has room for %s; take a larger disk, or let \"mirrorctl plan --disk %d\" choose", bytesText(need), bytesText(disk), bytesText(room), disk)
}

// parseDisk reads the size of a disk: as on its label (2TB, 480GB, powers of
// 1000), or with a single letter in powers of 1024.
func parseDisk(s string) (int64, error) {
	for unit, factor := range map[string]int64{"GB": 1e9, "TB": 1e12} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || !(n > 0 && n <= 1e6) {
			return 0, fmt.Errorf("%q is no size: write it like 480GB or 2TB", s)
		}
		return int64(n * float64(factor)), nil
	}
	return ParseSize(s)
}
