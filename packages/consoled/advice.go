package consoled

import (
	"fmt"
	"strings"
	"time"
)

// Problem is something wrong, for people who have never seen this box.
type Problem struct {
	What string
	Do   string // what to do about it; empty if nothing can be done here
	Bad  bool   // the node does not do its job, or soon will not
}

// starting is how long a node may take to get everything going, once this program
// runs; after fresh that is no start any more.
// A port needs settling to find its link.
const (
	starting = 2 * time.Minute
	fresh    = 15 * time.Minute
	settling = 20 * time.Second
)

// quiet is the age from which the health report no longer counts.
const quiet = 5 * time.Minute

// Starting reports whether the node has not had the time to be well yet.
func (s *Status) Starting() bool {
	return s.Stick == nil && s.Up < fresh && s.Running < starting && (s.Health == nil || !s.Health.Healthy || len(s.findings()) > 0)
}

// Problems says what is wrong, worst first. While the node starts only that
// which will not pass by itself is: a cable that is not there.
func (s *Status) Problems() []Problem {
	found := s.findings()
	if s.Starting() {
		if n := s.Network; n != nil && !n.Carrier && s.Running > settling {
			return []Problem{s.link()}
		}
		return nil
	}
	var sorted []Problem
	for _, bad := range []bool{true, false} {
		for _, p := range found {
			if p.Bad == bad {
				sorted = append(sorted, p)
			}
		}
	}
	return sorted
}

func (s *Status) findings() (list []Problem) {
	if s.Unconfigured {
		list = append(list, Problem{"This box does not know who it is: it has no node file.", "Its disk must be written anew: " + s.asks() + ".", true})
	}
	if s.Network != nil && !s.Network.Carrier {
		list = append(list, s.link())
	}
	if s.Stick != nil && s.Stick.State == "refused" {
		list = append(list, Problem{"The USB stick does not help: " + s.Stick.Reason + ".", "Take it out. For a new file " + s.asks() + ", with these words.", true})
	}
	if s.Health == nil || s.Now.Sub(s.Health.Time) > quiet {
		return append(list, Problem{What: "This box does not watch its own health at the moment.", Do: "Switch it off and on if this lasts for ten minutes."})
	}
	var late []Outcome
	for _, o := range s.Health.Checks {
		switch {
		case o.Status != "fail" && o.Status != "warn":
		case s.overtaken(o.Name):
		case strings.HasPrefix(o.Name, projectCheck):
			late = append(late, o)
		default:
			list = append(list, s.explain(o))
		}
	}
	if len(late) > 0 {
		list = append(list, projects(late))
	}
	return list
}

// overtaken reports whether a check's outcome has nothing to say any more: netd's
// state is newer than the last look at it, and in a rescue the gateway is spoken
// of together with the address.
func (s *Status) overtaken(check string) bool {
	n := s.Network
	switch {
	case n == nil:
		return false
	case check == "port", check == "link":
		return true // said already
	case check == "gateway":
		return n.Mode == "rescue" || n.connected() && !n.silent()
	}
	return false
}

// projectCheck begins the names of the projects' checks.
const projectCheck = "project "

// projects makes one problem of those of several projects: as a rule they have
// one cause.
func projects(late []Outcome) Problem {
	var names []string
	for _, o := range late {
		names = append(names, strings.TrimPrefix(o.Name, projectCheck))
	}
	return Problem{
		What: "Not up to date: " + strings.Join(names, ", ") + ": " + late[0].Reason + ".",
		Do:   "Nothing here if the network is well: it is tried again by itself.",
	}
}

// explain puts a check's outcome into plain words.
func (s *Status) explain(o Outcome) Problem {
	bad := o.Status == "fail"
	service, _, _ := strings.Cut(o.Name, "-")
	if s.Network != nil {
		switch o.Name {
		case "address":
			return s.address(o.Reason)
		case "gateway":
			return s.gateway(o.Reason)
		}
	}
	switch service {
	case "https":
		return Problem{"Encrypted access (HTTPS) does not work: " + o.Reason + ".", "Nothing yet: HTTP goes on; " + s.asks() + " if this stays for a day.", bad}
	case "http":
		return Problem{"The web server does not answer: " + o.Reason + ".", "Nothing yet: the box restarts by itself if this lasts ten minutes.", bad}
	case "rsync":
		return Problem{"The rsync server does not answer: " + o.Reason + ".", "Nothing yet: the box restarts by itself if this lasts ten minutes.", bad}
	}
	if o.Name == "update" && s.Update != nil && s.Update.Expired {
		return Problem{What: "No updates come: the maintainers have let their signature expire.", Do: "Nothing here: this box works on with the release that it has; " + s.asks() + " if this stays for a week."}
	}
	if words, ok := advice[o.Name]; ok {
		return Problem{fmt.Sprintf(words[0], o.Reason), fmt.Sprintf(words[1], s.asks()), bad}
	}
	return Problem{What: o.Name + ": " + o.Reason + ".", Bad: bad}
}

// advice holds, by check, what is wrong (with the reason put in) and what to do
// (with whom to ask).
var advice = map[string][2]string{
	"disk":        {"The disk takes no data: %s.", "The box restarts to repair it. If this comes back, the disk must be replaced; %s."},
	"room":        {"There is no room left: %s.", "Nothing here; %s: new files cannot be mirrored."},
	"space":       {"The disk is nearly full: %s.", "Nothing here; %s if this stays for a day."},
	"ext4":        {"The file system was damaged: %s.", "Switch the box off with its button, and on again: it repairs itself."},
	"wear":        {"The disk needs replacing: %s.", "Please keep the box running until a new one is there; %s."},
	"watchdog":    {"Nothing restarts this box if it hangs: %s.", "Nothing now. If the picture ever stands still, switch the box off and on; %s."},
	"temperature": {"It is too hot: %s.", "Check that the fan turns, that air gets through, and how warm the room is; %s if all is well."},
	"clock":       {"The time may be wrong: %s.", "Let this box reach time servers (UDP port 123 out); %s if that is allowed already."},
	"update":      {"Updates: %s.", "Nothing now: this box works on with the release that it has; %s if this stays for a week."},
	"certificate": {"Encrypted access (HTTPS): %s.", "Nothing here: the box asks for a certificate again by itself, and serves without; %s if this stays for a week."},
	"updater":     {"The installing of new releases hangs: %s.", "Nothing yet: the box restarts by itself; %s if this comes back."},
	"boot":        {"The box does not find its own disk: %s.", "The disk or its cable is loose or broken; %s."},
}

// asks says whom to ask.
func (s *Status) asks() string {
	if s.Contact == "" {
		return "ask the maintainers"
	}
	return "contact " + s.Contact
}

func (s *Status) link() Problem {
	if s.Network.MAC == "" {
		return Problem{"No network port was found.", "The network card is loose, broken, or of a kind that this system does not know; " + s.asks() + ".", true}
	}
	return Problem{
		"No carrier on " + s.Network.Uplink + ": the network cable is not connected, or its other end is off.",
		"Check the cable in the port with MAC " + s.Network.MAC + ", and that the switch port is on; " + s.asks() + " if it is.", true,
	}
}

func (s *Status) address(reason string) Problem {
	p := Problem{"Network: " + reason + ".", "Compare with the addresses that you gave for this box; " + s.asks() + ".", !s.Network.connected()}
	switch {
	case s.Network.Mode == "rescue":
		p.Bad = true
		p.What = "The gateway of the configuration has never answered."
		if s.Network.connected() {
			p.What += " The box serves nobody, and fetches by what this network offers."
		}
		p.Do = "Is the cable in the right network (VLAN)? Are address and gateway below right? If not, " + s.asks() + ": you will get a file for a USB stick, to be put in here."
	case strings.HasSuffix(reason, ": conflict"):
		address := strings.TrimSuffix(strings.TrimPrefix(reason, "address "), ": conflict")
		p.What = "Another machine in this network uses the address " + address + "."
		p.Do = "Switch that machine off, or give us another address; " + s.asks() + "."
	case len(s.Network.Addresses) == 0:
		p.What = "The network has given this box no address yet."
		p.Do = "Check that there is a DHCP server or an IPv6 router at this switch port; " + s.asks() + "."
	}
	return p
}

func (s *Status) gateway(reason string) Problem {
	p := Problem{
		"Network: " + reason + ".",
		"Check that the switch port is in the right network (VLAN) and that the gateway is right; " + s.asks() + " if it is not.",
		!s.Network.connected(),
	}
	if n := len(s.Network.Gateways); p.Bad && n > 0 {
		p.What = "The network's gateway does not answer: " + s.Network.Gateways[0].Address.String() + "."
	}
	return p
}
