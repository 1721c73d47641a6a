package node

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/project"
)

const fleetOK = `{"domain": "example.net", "upstream": "rsync.example.net"}`

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReferenceFiles(t *testing.T) {
	c, err := ReadDesk("reference/fleet.json", "reference/node.json", "")
	if err != nil {
		t.Fatal(err)
	}
	want := Node{
		Name: "demo", Hardware: "t620",
		Sponsor:   Sponsor{Name: "Example Networks", URL: "https://www.example.net/"},
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8::10/64")},
		Gateways:  []Gateway{{Addr: netip.MustParseAddr("192.0.2.1")}, {Addr: netip.MustParseAddr("fe80::1")}},
		DNS:       []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
		Uplink:    "0000:01:00.0",
		Bond:      Bond{Members: []string{"0000:01:00.0", "0000:01:00.1"}},
		VLAN:      101, MTU: 1500,
		Projects: []string{"debian", "ubuntu-releases", "fdroid-repo"},
		Location: Location{Continent: "na", Country: "us", StateProvince: "nm", City: "albuquerque"},
		SyncRate: 100 << 20, Aliases: []string{"mirror.example.net", "mirror.example.org"},
	}
	equal := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	equalAddr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(want, c.Node, equal, equalAddr); diff != "" {
		t.Errorf("node -want +got\n%s", diff)
	}
	if got := c.Hostname(); got != "demo.mirrors.example.net" {
		t.Errorf("hostname = %q", got)
	}
	if diff := cmp.Diff([]string{"demo.mirrors.example.net", "mirror.example.net", "mirror.example.org"}, c.Names()); diff != "" {
		t.Errorf("names -want +got\n%s", diff)
	}
	debian, alpine := c.Projects()[0], c.Fleet.Projects["alpine"]
	if debian.Rate != 50<<20 || debian.Upstream != (project.Upstream{Host: "rsync.example.net", Module: "debian"}) || len(debian.Index) == 0 {
		t.Errorf("debian = %+v: override and catalogue are not merged", debian)
	}
	if want := (project.Upstream{Host: "rsync2.example.net:8730", Module: "alpine-linux", Path: "v3"}); alpine.Upstream != want {
		t.Errorf("alpine upstream = %+v, want %+v", alpine.Upstream, want)
	}
	if got := c.Modules(); len(got) != 3 || got[2] != (project.Module{Name: "fdroid", Path: "fdroid", Comment: "F-Droid free Android app store"}) {
		t.Errorf("modules = %+v", got)
	}
}

// Every field of the types must be shown in the reference files: they are the
// documentation.
func TestReferenceIsComplete(t *testing.T) {
	for file, dst := range map[string]any{"reference/fleet.json": Fleet{}, "reference/node.json": rawNode{}} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range jsonNames(dst) {
			if !strings.Contains(string(data), `"`+name+`":`) {
				t.Errorf("%s does not show %q", file, name)
			}
		}
	}
}

func TestDeskRefusesEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	fleet := write(t, dir, "fleet.json", `{
  "domain": "-bad-",
  "upstream": "host:99999",
  "ntp": ["ok.example.net", "1.2.3", 5], "dns": ["::"],
  "acme": {"directory": "http://x.example.net/", "email": "nobody"},
  "update": {"urls": ["ftp://x/"]},
  "telemetri": {},
  "projects": {"debian": {"rate": "fast", "pth": "x"}, "Bad": {"path": "../x"}}
}`)
	n := write(t, dir, "node.json", `{
  "name": "Not_A_Label",
  "sponsor": {"name": 5, "url": "example.net"},
  "addresses": ["192.0.2.0/24", "192.0.2.255/24", "192.0.2.7", "2001:db8::/64", "10.0.0.2/24"],
  "gateways": ["10.0.1.1", "2001:db8::1", "10.0.0.1"],
  "projects": ["debain", "epel", "epel-amd64", "epel"],
  "disable_dscp": "yes",
  "name": "again"
}`)
	_, err := ReadDesk(fleet, n, "")
	if err == nil {
		t.Fatal("accepted")
	}
	want := `fleet.json:4: ntp[2]: "5" is a number; write a string in double quotes
fleet.json:7: telemetri: is not a known field; did you mean "telemetry"?
fleet.json:8: projects.debian.rate: "fast" cannot be used; size "fast": want a number and a unit of KMGTP
fleet.json:8: projects.debian.pth: is not a known field; did you mean "path"?
fleet.json:2: domain: "-bad-" is not a domain name; write it like mirrors.example.net
fleet.json:3: upstream: "host:99999" is not host or host:port; write it like rsync.example.net or [2001:db8::1]:873
fleet.json:4: ntp[1]: "1.2.3" is neither a name nor an address; write it like ntp.example.net
fleet.json:4: dns[0]: "::" is not an IP address; write it like 192.0.2.53 or 2001:db8::53
fleet.json:5: acme.directory: "http://x.example.net/" is not an https URL; write the CA's directory URL
fleet.json:5: acme.email: "nobody" is not an e-mail address; write it like noc@example.net
fleet.json:6: update.urls[0]: "ftp://x/" is not an http or https URL; write it like https://updates.example.net/fleet/
fleet.json:8: projects.Bad.path: "../x" cannot be used; use a relative path without dot elements, such as debian or rpmfusion/nonfree
fleet.json:8: projects.Bad.module.path: "../x" cannot be used; use the project's path or a folder above it
fleet.json:8: projects.Bad: "Bad" cannot be used; name it with lower-case letters, digits and dashes
node.json:3: sponsor.name: "5" is a number; write a string in double quotes
node.json:7: disable_dscp: "yes" is a string; write true or false without quotes
node.json:8: name: is given twice; remove one of them
node.json:8: name: "Not_A_Label" is not a host name label; use up to 63 lower-case letters, digits and dashes
node.json: hardware: is missing; write the name of a file in hardware/, without .json
node.json:3: sponsor.url: "example.net" is not an http or https URL; write it like https://www.example.net/
node.json:4: addresses[0]: "192.0.2.0/24" is the subnet itself, not an address in it; ask the host for the node's own address in this subnet
node.json:4: addresses[1]: "192.0.2.255/24" is the subnet's broadcast address; ask the host for the node's own address in this subnet
node.json:4: addresses[2]: "192.0.2.7" is not an address with a prefix length; add the length of the subnet, such as 192.0.2.7/24
node.json:4: addresses[3]: "2001:db8::/64" is the subnet's router anycast address; ask the host for the node's own address in this subnet
node.json:5: gateways[0]: "10.0.1.1" is in the subnet of no address; correct it, or write "10.0.1.1 onlink" if it is on the same wire
node.json:5: gateways[1]: "2001:db8::1" has no address of its family in addresses; add an address of the same family, or remove the gateway
node.json:5: gateways[2]: "10.0.0.1" is a second gateway of its family; keep one for IPv4 and one for IPv6
node.json:6: projects[0]: "debain" is not a known project; did you mean "debian"?
node.json:6: projects[2]: "epel-amd64" is served at epel, as "epel" is; host only one of them
node.json:6: projects[3]: "epel" is given twice; remove one of them`
	got := strings.ReplaceAll(err.Error(), dir+"/", "")
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestNodeKeepsWhatItCan(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "fleet.json", `{"domain": "example.net", "upstream": "rsync.example.net", "from_the_future": {"a": [1]},
  "projects": {"debian": {"path": "/etc"}, "own": {"kind": "files"}}}`)
	write(t, dir, "node.json", `{"name": "n1", "hardware": "qemu", "addresses": ["dhcp"], "projects": ["debian", "nope", 7, "own"], "hologram": true}`)
	c, problems, err := ReadNode(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"debian", "own"}, c.Node.Projects); diff != "" {
		t.Errorf("projects -want +got\n%s", diff)
	}
	if p := c.Fleet.Projects["debian"]; p.Path != "debian" {
		t.Errorf("debian is served at %q, want the catalogue's own path", p.Path)
	}
	if !c.Node.DHCP || c.Hostname() != "n1.example.net" {
		t.Errorf("config = %+v", c.Node)
	}
	var fields []string
	for _, p := range problems {
		fields = append(fields, p.Field)
	}
	want := []string{"from_the_future", "projects.debian.path", "projects.debian.module.path", "hologram", "projects[2]", "projects[1]"}
	if diff := cmp.Diff(want[:2], fields[:2]); diff != "" || len(fields) < 5 {
		t.Errorf("reported %v, want %v", fields, want)
	}
}

func TestUnreadableFileFallsBack(t *testing.T) {
	tests := []struct {
		name, node, old string
		host            string
		problem         string
	}{
		{"truncated", `{"name": "n1", `, `{"name": "n0", "hardware": "qemu", "addresses": ["dhcp"], "projects": ["debian"]}`, "n0.example.net", "ends too early"},
		{"garbage", "\x00\xff", "", "example.net", "invalid character"},
		{"trailing", `{} {}`, "", "example.net", "something after"},
		{"deep", strings.Repeat(`[`, 100), "", "example.net", "nested deeper"},
		{"huge", strings.Repeat(` `, maxFile+1), "", "example.net", "larger than"},
		{"list", `[]`, "", "example.net", "is a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "fleet.json", fleetOK)
			write(t, dir, "node.json", tt.node)
			if tt.old != "" {
				write(t, dir, "node.json.old", tt.old)
			}
			c, problems, err := ReadNode(dir)
			if err != nil || c.Hostname() != tt.host {
				t.Errorf("host %q, %v; want %q", c.Hostname(), err, tt.host)
			}
			if len(problems) == 0 || !strings.Contains(problems[0].String(), tt.problem) {
				t.Errorf("problems %v do not tell %q", problems, tt.problem)
			}
		})
	}
}

func TestNothingThere(t *testing.T) {
	c, _, err := ReadNode(t.TempDir())
	if err == nil || c == nil || len(c.Fleet.Projects) == 0 {
		t.Errorf("config %v, error %v: want an error beside an empty config", c, err)
	}
	_, err = ReadDesk("/nonexistent/fleet.json", "/nonexistent/node.json", "")
	if ps, ok := errors.AsType[Problems](err); !ok || len(ps) != 2 {
		t.Errorf("error = %v, want one problem a file", err)
	}
}

func TestAddresses(t *testing.T) {
	tests := []struct {
		addresses, gateways string
		ok                  bool
	}{
		{`["192.0.2.0/31"]`, `["192.0.2.1"]`, true},
		{`["2001:db8::/127"]`, `["2001:db8::1"]`, true},
		{`["192.0.2.9/32"]`, `["203.0.113.1 onlink"]`, true},
		{`["192.0.2.9/32"]`, `["203.0.113.1"]`, false},
		{`["2001:db8::9/128"]`, `["fe80::1"]`, true},
		{`["192.0.2.9/24"]`, `["192.0.2.9"]`, false},
		{`["192.0.2.9/24"]`, `["192.0.2.255"]`, false},
		{`["192.0.2.9/24"]`, `["192.0.2.1/24"]`, false},
		{`["127.0.0.1/8"]`, `[]`, false},
		{`["224.0.0.1/24"]`, `[]`, false},
		{`["0.0.0.1/8"]`, `[]`, false},
		{`["::ffff:192.0.2.1/120"]`, `[]`, false},
		{`["fe80::2/64"]`, `[]`, false},
		{`["10.1.1.1/0"]`, `[]`, false},
		{`["10.1.1.1/24", "10.1.1.1/25"]`, `[]`, false},
		{`["dhcp"]`, `[]`, true},
		{`["dhcp", "192.0.2.9/24"]`, `[]`, false},
		{`["dhcp"]`, `["192.0.2.1"]`, false},
		{`[]`, `[]`, false},
		{`"dhcp"`, `[]`, false},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		fleet := write(t, dir, "fleet.json", fleetOK)
		n := write(t, dir, "node.json", `{"name": "n", "hardware": "qemu", "projects": ["debian"], "addresses": `+tt.addresses+`, "gateways": `+tt.gateways+`}`)
		if _, err := ReadDesk(fleet, n, ""); (err == nil) != tt.ok {
			t.Errorf("addresses %s gateways %s: %v", tt.addresses, tt.gateways, err)
		}
	}
}

func TestNames(t *testing.T) {
	tests := []struct {
		is   func(string) bool
		good []string
		bad  []string
	}{
		{isHostPort, []string{"a.b", "a.b:873", "192.0.2.1", "192.0.2.1:1", "2001:db8::1", "[2001:db8::1]:873"}, []string{"a.b:", "a.b:0", "a.b:x", "a:1:2", "-a", "a b", ".", "1.2.3", "[::1]"}},
		{isURL, []string{"http://a.b/", "https://a.b:8/x?y"}, []string{"a.b", "ftp://a.b/", "http://", "http://u:p@a.b/", "http://a.b/\x01"}},
		{isEmail, []string{"a@b.c"}, []string{"a", "@b.c", "a@", "a b@c.d", "a@b@c"}},
	}
	for _, tt := range tests {
		for _, s := range tt.good {
			if !tt.is(s) {
				t.Errorf("%q refused", s)
			}
		}
		for _, s := range tt.bad {
			if tt.is(s) {
				t.Errorf("%q accepted", s)
			}
		}
	}
}

// FuzzRead holds the promise of ReadNode: whatever the files say, there is a
// configuration, its parts are valid, and every problem can be shown.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"reference/fleet.json", "reference/node.json"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte(fleetOK))
		f.Add([]byte(fleetOK), data)
	}
	f.Fuzz(func(t *testing.T, fleet, n []byte) {
		dir := t.TempDir()
		write(t, dir, FleetFile, string(fleet))
		write(t, dir, NodeFile, string(n))
		c, problems, err := ReadNode(dir)
		if c == nil {
			t.Fatal("no configuration")
		}
		for _, p := range problems {
			if p.String() == "" || p.File == "" {
				t.Errorf("empty problem %+v", p)
			}
		}
		for _, p := range c.Projects() {
			if faults := p.Faults(); faults != nil {
				t.Errorf("project %q is unusable: %v", p.Name, faults)
			}
		}
		_, deskErr := ReadDesk(filepath.Join(dir, FleetFile), filepath.Join(dir, NodeFile), "")
		if (deskErr == nil) != (err == nil && len(problems) == 0) {
			t.Errorf("desk says %v, node says %v %v", deskErr, problems, err)
		}
	})
}

func TestDeskRefusesImpossibleNetworks(t *testing.T) {
	dir := t.TempDir()
	fleet := write(t, dir, "fleet.json", `{"domain": "example.net", "upstream": "rsync.example.net",
  "firewall": {"allow": ["192.0.2.1"], "block": ["everyone"], "limits": {"10/8": "1M"}}}`)
	n := write(t, dir, "node.json", `{"name": "n", "hardware": "qemu", "addresses": ["dhcp"], "projects": ["debian"],
  "vlan": 4095, "mtu": 576}`)
	_, err := ReadDesk(fleet, n, "")
	if err == nil {
		t.Fatal("accepted")
	}
	want := `fleet.json:2: firewall.allow[0]: "192.0.2.1" is not a prefix; write it like 192.0.2.0/24 or 2001:db8::/32
fleet.json:2: firewall.block[0]: "everyone" is not a prefix; write it like 192.0.2.0/24 or 2001:db8::/32
fleet.json:2: firewall.limits: "10/8" is not a prefix; write it like 192.0.2.0/24 or 2001:db8::/32
node.json:2: vlan: "4095" is not between 1 and 4094; use the number that the host's switch has for the port
node.json:2: mtu: "576" is not between 1280 and 9216; leave it out: 1500 fits everywhere`
	if diff := cmp.Diff(want, strings.ReplaceAll(err.Error(), dir+"/", "")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// What the secret file holds must not get into a log.
func TestProblemsKeepSecrets(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "fleet.json", `{"domain": "example.net", "upstream": "rsync.example.net", "contact": "nobody"}`)
	write(t, dir, "node.json", `{"name": "n", "hardware": "qemu", "addresses": ["dhcp"], "projects": ["debian"]}`)
	write(t, dir, "secret.json", `{"telemetry":
  {"metrics": "ftp://user:hush@metrics.example.net/"},
  "mqtt": {"hush": "hush"}}`)
	_, problems, err := ReadNode(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(Problems(problems).Error(), dir+"/", "")
	want := `fleet.json:1: contact: "nobody" is neither an e-mail address nor a URL; write it like noc@example.net
secret.json:2: telemetry.metrics: is not an http or https URL; write it like https://metrics.example.net/write
secret.json:3: mqtt.hush: is not a known field; remove it; known are broker, tls`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
