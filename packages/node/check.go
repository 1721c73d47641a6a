package node

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"micromirror/packages/project"
)

// fleetFrom validates what a fleet file said. What is wrong is reported and left
// out of the result.
func (d *decoder) fleetFrom(f Fleet) Fleet {
	d.required("domain", f.Domain, "write the domain that holds the nodes")
	d.keep("domain", &f.Domain, isDomain, "is not a domain name", "write it like mirrors.example.net")
	d.keep("contact", &f.Contact, isContact, "is neither an e-mail address nor a URL", "write it like noc@example.net")
	d.required("upstream", f.Upstream, "write the rsync server that the projects come from")
	d.keep("upstream", &f.Upstream, isHostPort, "is not host or host:port", "write it like rsync.example.net or [2001:db8::1]:873")
	f.NTP = d.strings("ntp", f.NTP, isHost, "is neither a name nor an address", "write it like ntp.example.net")
	f.DNS = d.strings("dns", f.DNS, isAddress, "is not an IP address", "write it like 192.0.2.53 or 2001:db8::53")
	d.keep("mqtt.broker", &f.MQTT.Broker, isHostPort, "is not host or host:port", "write it like mqtt.example.net:1883")
	d.keep("acme.directory", &f.ACME.Directory, isHTTPS, "is not an https URL", "write the CA's directory URL")
	d.keep("acme.email", &f.ACME.Email, isEmail, "is not an e-mail address", "write it like noc@example.net")
	d.keep("acme.ca", &f.ACME.CA, isPEM, "holds no certificate in PEM form", "leave it out for a public authority")
	f.Update.URLs = d.strings("update.urls", f.Update.URLs, isURL, "is not an http or https URL", "write it like https://updates.example.net/fleet/")
	d.firewall(&f.Firewall)
	d.http(&f.HTTP)
	d.manage(&f)
	d.keep("update.window", &f.Update.Window, isWindow, "is not a time of day", "write it like 02:00-05:00, in UTC, or leave it out for any time")
	d.keep("telemetry.syslog", &f.Telemetry.Syslog, isHostPort, "is not host or host:port", "write it like logs.example.net:6514")
	d.keep("telemetry.syslog_ca", &f.Telemetry.SyslogCA, isCertificates, "holds no certificate", "write the authority's certificate in PEM form, line ends as \\n")
	d.keep("telemetry.metrics", &f.Telemetry.Metrics, isURL, "is not an http or https URL", "write it like https://metrics.example.net/write")
	f.Projects = d.projects(f.Projects)
	return f
}

func (d *decoder) firewall(f *Firewall) {
	const reason, remedy = "is not a prefix", "write it like 192.0.2.0/24 or 2001:db8::/32"
	f.Allow = d.strings("firewall.allow", f.Allow, isPrefix, reason, remedy)
	f.Block = d.strings("firewall.block", f.Block, isPrefix, reason, remedy)
	limits := map[string]project.Size{}
	for _, p := range slices.Sorted(maps.Keys(f.Limits)) {
		if !isPrefix(p) {
			d.bad("firewall.limits", show(p), reason, remedy)
			continue
		}
		limits[p] = f.Limits[p]
	}
	f.Limits = limits
}

// projects completes the merged catalogue; a project that is unusable as the
// fleet has it falls back to the catalogue's own, or is left out.
func (d *decoder) projects(all map[string]project.Project) map[string]project.Project {
	known := project.Catalogue()
	out := make(map[string]project.Project, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		field := "projects." + name
		p := project.Complete(name, all[name])
		faults := p.Faults()
		if !isProjectName(name) {
			faults = append(faults, project.Fault{Value: name, Remedy: "name it with lower-case letters, digits and dashes"})
		}
		if h := p.Upstream.Host; h != "" && !isHostPort(h) {
			faults = append(faults, project.Fault{Field: "upstream.host", Value: h, Remedy: "write it like rsync.example.net:873"})
		}
		for _, f := range faults {
			d.bad(strings.TrimSuffix(join(field, f.Field), "."), show(f.Value), "cannot be used", f.Remedy)
		}
		if old, ok := known[name]; ok && faults != nil {
			p, faults = old, nil
		}
		if faults == nil {
			out[name] = p
		}
	}
	return out
}

// rawNode is a node file as written.
type rawNode struct {
	Name        string       `json:"name"`
	Hardware    string       `json:"hardware"`
	Sponsor     Sponsor      `json:"sponsor"`
	Addresses   []string     `json:"addresses"`
	Gateways    []string     `json:"gateways"`
	DNS         []string     `json:"dns"`
	Uplink      string       `json:"uplink"`
	Bond        Bond         `json:"bond"`
	VLAN        int          `json:"vlan"`
	MTU         int          `json:"mtu"`
	Projects    []string     `json:"projects"`
	Location    Location     `json:"location"`
	Aliases     []string     `json:"aliases"`
	SyncRate    project.Size `json:"sync_rate"`
	DisableDSCP bool         `json:"disable_dscp"`
}

// nodeFrom validates what a node file said, given the known projects.
func (d *decoder) nodeFrom(r rawNode, known map[string]project.Project) Node {
	n := Node{Name: r.Name, Hardware: r.Hardware, Uplink: r.Uplink, Sponsor: r.Sponsor, SyncRate: r.SyncRate, DisableDSCP: r.DisableDSCP, Location: r.Location}
	d.required("name", n.Name, "write the first label of the node's host name")
	d.keep("name", &n.Name, isLabel, "is not a host name label", "use up to 63 lower-case letters, digits and dashes")
	d.required("hardware", n.Hardware, "write the name of a file in hardware/, without .json")
	d.keep("hardware", &n.Hardware, isProjectName, "is not the name of a hardware file", "use lower-case letters, digits and dashes")
	d.keep("sponsor.name", &n.Sponsor.Name, isText, "is not plain text of at most 200 characters", "shorten it")
	d.keep("sponsor.url", &n.Sponsor.URL, isURL, "is not an http or https URL", "write it like https://www.example.net/")
	d.keep("location.continent", &n.Location.Continent, isText, "is not plain text", "shorten it")
	d.keep("location.country", &n.Location.Country, isText, "is not plain text", "shorten it")
	d.keep("location.state_province", &n.Location.StateProvince, isText, "is not plain text", "shorten it")
	d.keep("location.city", &n.Location.City, isText, "is not plain text", "shorten it")
	const noCard, nameCard = "is not a network card", "name its driver, PCI path or MAC address, such as mlx4_en or 0000:01:00.0"
	d.keep("uplink", &n.Uplink, isCard, noCard, nameCard)
	n.Bond.Members = d.strings("bond.members", r.Bond.Members, isCard, noCard, nameCard)
	n.VLAN = d.between("vlan", r.VLAN, 1, 4094, "use the number that the host's switch has for the port")
	n.MTU = d.between("mtu", r.MTU, 1280, 9216, "leave it out: 1500 fits everywhere")
	n.Aliases = d.strings("aliases", r.Aliases, isFullName, "is not a full host name", "write it like mirror.example.org")
	if r.SyncRate != 0 && r.SyncRate < 64<<10 {
		d.bad("sync_rate", show(r.SyncRate), "is too slow to end", "use at least 64K (bytes a second), or 0 for no bound")
		n.SyncRate = 0
	}
	d.network(&n, r)
	n.Projects = d.hosted(r.Projects, known)
	return n
}

// between returns a number that is 0 (not given) or within bounds.
func (d *decoder) between(field string, n, least, most int, remedy string) int {
	if n != 0 && (n < least || n > most) {
		d.bad(field, show(n), fmt.Sprintf("is not between %d and %d", least, most), remedy)
		return 0
	}
	return n
}

// hosted keeps the projects that exist, once each, and not inside each other.
func (d *decoder) hosted(names []string, known map[string]project.Project) []string {
	var out []string
	d.each("projects", names, func(field, name string) {
		p, ok := known[name]
		if !ok {
			d.bad(field, show(name), "is not a known project", unknownProject(name, known))
			return
		}
		for _, other := range out {
			o := known[other]
			if p.Overlaps(&o) {
				d.bad(field, show(name), fmt.Sprintf("is served at %s, as %q is", p.Path, other), "host only one of them")
				return
			}
			if p.Module.Name == o.Module.Name && p.Module.Path != o.Module.Path {
				d.bad(field, show(name), fmt.Sprintf("serves the rsync module %s from another folder than %q", p.Module.Name, other), "host only one of them")
				return
			}
		}
		out = append(out, name)
	})
	if len(names) == 0 {
		d.bad("projects", "", "is empty", "list the projects to host, such as debian")
	}
	return out
}

func unknownProject(name string, known map[string]project.Project) string {
	names := slices.Sorted(maps.Keys(known))
	if n := nearest(name, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return "use one of " + strings.Join(names, ", ") + ", or describe it in the fleet file"
}

// required reports an empty field that was not reported before.
func (d *decoder) required(field, s, remedy string) {
	if s == "" && !d.reported(field) {
		d.bad(field, "", "is missing", remedy)
	}
}

func (d *decoder) reported(field string) bool {
	return slices.ContainsFunc(d.problems, func(p Problem) bool { return p.Field == field })
}

// keep empties a field that is set but wrong, and reports it.
func (d *decoder) keep(field string, s *string, ok func(string) bool, reason, remedy string) {
	if *s != "" && !ok(*s) {
		d.bad(field, show(*s), reason, remedy)
		*s = ""
	}
}

// each calls use for every usable element of a list, and reports duplicates and
// empty ones.
func (d *decoder) each(field string, list []string, use func(field, s string)) {
	for i, s := range list {
		f := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case slices.Contains(list[:i], s) && s != "":
			d.bad(f, show(s), "is given twice", "remove one of them")
		case s != "":
			use(f, s)
		case !d.reported(f):
			d.bad(f, `""`, "is empty", "remove it")
		}
	}
}

// strings returns the elements that are right.
func (d *decoder) strings(field string, list []string, ok func(string) bool, reason, remedy string) []string {
	var out []string
	d.each(field, list, func(f, s string) {
		if ok(s) {
			out = append(out, s)
		} else {
			d.bad(f, show(s), reason, remedy)
		}
	})
	return out
}

const lower, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"

func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && strings.Trim(s, lower+digits+"-") == ""
}

// isFullName accepts what an authority can certify.
func isFullName(s string) bool { return isDomain(s) && isHost(s) && strings.Contains(s, ".") }

func isPEM(s string) bool { return x509.NewCertPool().AppendCertsFromPEM([]byte(s)) }

func isDomain(s string) bool {
	return len(s) <= 190 && !slices.ContainsFunc(strings.Split(s, "."), func(l string) bool { return !isLabel(l) })
}

func isProjectName(s string) bool { return isLabel(s) }

func isCard(s string) bool {
	return len(s) <= 100 && strings.Trim(s, lower+strings.ToUpper(lower)+digits+"._:/-") == ""
}

func isText(s string) bool {
	return len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}

func isHost(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil || isDomain(s) && strings.Trim(s, digits+".") != ""
}

func isAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast()
}

func isPrefix(s string) bool {
	_, err := netip.ParsePrefix(s)
	return err == nil
}

// isHostPort accepts name, name:port, address, [v6]:port.
func isHostPort(s string) bool {
	if isHost(s) {
		return true
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return false
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	host := s[:i]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return false
	}
	return err == nil && port > 0 && isHost(host)
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= 500 && isText(s) && (u.Scheme == "http" || u.Scheme == "https") && isHostPort(u.Host) && u.User == nil
}

func isWindow(s string) bool {
	from, to, ok := strings.Cut(s, "-")
	a, err := time.Parse("15:04", from)
	b, err2 := time.Parse("15:04", to)
	return ok && err == nil && err2 == nil && !a.Equal(b)
}

func isHTTPS(s string) bool { return isURL(s) && strings.HasPrefix(s, "https:") }

func isCertificates(s string) bool { return x509.NewCertPool().AppendCertsFromPEM([]byte(s)) }

func isEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	return ok && len(local) <= 64 && local != "" && isDomain(strings.ToLower(domain)) && isText(s) && !strings.ContainsAny(local, " <>\"@,;")
}

func isContact(s string) bool { return isEmail(s) || isURL(s) }
