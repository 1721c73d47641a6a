package health

import (
	"maps"
	"path/filepath"
	"slices"
	"time"

	"micromirror/packages/layout"
	"micromirror/packages/node"
	"micromirror/packages/smart"
)

// Config says where things are. Node fills it in for a node.
type Config struct {
	State  string // directory on /perm that this process may write
	Perm   string
	Mirror string
	SyncD  string            // directory of the projects' state
	Run    string            // /run
	Sys    string            // /sys
	Dev    string            // /dev
	HTTP   map[string]string // name to base URL, for example "http-ipv4"
	HTTPS  map[string]string // the same for a node that has an authority to ask for a certificate
	Rsync  map[string]string // name to address
	// Node is what the node is told; nil watches no project, no clock, no
	// certificate and no update channel.
	Node *node.Config
	Now  func() time.Time
}

// Node is the configuration for a node.
func Node(state string, config *node.Config) Config {
	return Config{
		State: state, Perm: layout.Perm, Mirror: layout.MirrorDir, SyncD: layout.StateDir + "/syncd",
		Run: layout.RunDir, Sys: "/sys", Dev: "/dev",
		HTTP:  map[string]string{"http-ipv4": "http://127.0.0.1", "http-ipv6": "http://[::1]"},
		HTTPS: map[string]string{"https-ipv4": "https://127.0.0.1", "https-ipv6": "https://[::1]"},
		Rsync: map[string]string{"rsync-ipv4": "127.0.0.1:873", "rsync-ipv6": "[::1]:873"},
		Node:  config, Now: time.Now,
	}
}

// Checks lists all that a node looks at.
func Checks(c Config) []Check {
	list := c.disks()
	list = append(list, c.services()...)
	list = append(list, c.network()...)
	list = append(list,
		Check{Name: "watchdog", Incurable: true, Run: Watchdog(c.Sys)},
		Check{Name: "temperature", Run: Temperature(c.Sys)},
	)
	if c.Node == nil {
		return list
	}
	if len(c.Node.Fleet.NTP) > 0 {
		list = append(list, Check{Name: "clock", Needs: []string{"gateway"}, External: true, Run: Clock(c.Run + "/ntpd/clock.json")})
	}
	if len(c.Node.Fleet.Update.URLs) > 0 {
		list = append(list, Check{Name: "update", Needs: []string{"gateway"}, External: true, Run: Update(c.Run+"/updated/update.json", c.Now)})
	}
	for _, p := range c.Node.Projects() {
		run := Project(filepath.Join(c.SyncD, p.Name+".json"), Bound(p), c.Now)
		list = append(list, Check{Name: "project " + p.Name, External: true, Run: run})
	}
	return list
}

// disks: a disk that takes no write may do so after the file system check of the
// next boot; one that is full or worn out will not. But a release that fills it
// must not stay, so room counts on trial, if there was any before.
func (c *Config) disks() []Check {
	disk := &Disk{Dir: c.Perm, Sys: c.Sys, Dev: c.Dev, Read: smart.Read, Now: c.Now}
	return []Check{
		{Name: "disk", Gate: true, Run: Writable(c.State)},
		{Name: "room", Gate: true, External: true, Run: Room(c.Perm)},
		{Name: "space", Needs: []string{"room"}, Run: Space(c.Perm, 2)},
		{Name: "ext4", Run: Ext4Errors(c.Sys)},
		{Name: "wear", Incurable: true, Run: disk.Wear},
	}
}

// services: a daemon that hangs is cured by a reboot. HTTPS and its certificate
// depend on an authority out there, but a release that loses them must not stay.
func (c *Config) services() (list []Check) {
	known := NewKnown(c.Mirror)
	for _, name := range slices.Sorted(maps.Keys(c.HTTP)) {
		list = append(list, Check{Name: name, Gate: true, Run: known.Served(c.HTTP[name])})
	}
	if c.Node != nil && c.Node.Fleet.ACME.Directory != "" && len(c.Node.Names()) > 0 {
		list = append(list, Check{Name: "certificate", Gate: true, External: true, Run: Certificate(c.Run+"/acmed/status.json", c.Now)})
		for _, name := range slices.Sorted(maps.Keys(c.HTTPS)) {
			list = append(list, Check{Name: name, Needs: []string{"certificate"}, Gate: true, External: true, Run: known.Served(c.HTTPS[name])})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Rsync)) {
		list = append(list, Check{Name: name, Gate: true, Run: Rsync(c.Rsync[name], c.modules())})
	}
	return list
}

func (c *Config) modules() (names []string) {
	if c.Node == nil {
		return nil
	}
	for _, m := range c.Node.Modules() {
		names = append(names, m.Name)
	}
	return names
}

// network: the cause may be at the host, so it counts only on trial, and there
// only what worked before. A card that did not come up may do so after a reboot.
func (c *Config) network() []Check {
	state := c.Run + "/netd/state.json"
	return []Check{
		{Name: "port", Gate: true, Run: Port(state)},
		{Name: "link", Needs: []string{"port"}, Gate: true, External: true, Run: Link(state)},
		{Name: "address", Needs: []string{"link"}, Gate: true, External: true, Run: Address(state)},
		{Name: "gateway", Needs: []string{"address"}, Gate: true, External: true, Run: Gateway(state)},
	}
}
