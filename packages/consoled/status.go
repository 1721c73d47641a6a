package consoled

import (
	"io/fs"
	"net/netip"
	"time"

	"micromirror/packages/mirror/status"
)

// Status is all that the screen shows, as the other daemons report it.
type Status struct {
	Now     time.Time
	Up      time.Duration // since the kernel started
	Running time.Duration // since this program did

	Name, Sponsor, Contact string
	Model                  string // for people
	Version                string // of the running release
	// Upstream and Broker are where the node fetches from and is told of news.
	Upstream, Broker string
	Unconfigured     bool // no node file was found

	Health   *Health
	Network  *Network
	Update   *Update
	Stick    *Stick
	Projects []Project
}

// Health is what the screen needs of the health report.
type Health struct {
	Time    time.Time `json:"time"`
	Slot    string    `json:"slot"`
	Version string    `json:"version"`
	Healthy bool      `json:"healthy"`
	Checks  []Outcome `json:"checks"`
}

// Outcome is one check.
type Outcome struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// fact is what a check that passed has found.
func (h *Health) fact(name string) string {
	if h == nil {
		return ""
	}
	for _, o := range h.Checks {
		if o.Name == name && o.Status == "ok" {
			return o.Reason
		}
	}
	return ""
}

// Network is what the screen needs of netd's state.
type Network struct {
	Mode      string `json:"mode"`
	Uplink    string `json:"uplink"`
	MAC       string `json:"mac"`
	Driver    string `json:"driver"`
	Carrier   bool   `json:"carrier"`
	SpeedMbit int    `json:"speed_mbit"`
	Addresses []struct {
		Address netip.Prefix `json:"address"`
		State   string       `json:"state"`
	} `json:"addresses"`
	Gateways []struct {
		Address   netip.Addr `json:"address"`
		Reachable bool       `json:"reachable"`
	} `json:"gateways"`
}

// connected reports whether a gateway answers, silent whether one does not.
func (n *Network) connected() bool { return n.gateway(true) }
func (n *Network) silent() bool    { return n.gateway(false) }

func (n *Network) gateway(reachable bool) bool {
	for _, g := range n.Gateways {
		if g.Reachable == reachable {
			return true
		}
	}
	return false
}

// Stick is what became of a USB stick that was put in; there is none without one.
type Stick struct {
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// Update is what updated is about.
type Update struct {
	State     string    `json:"state"`
	Version   string    `json:"version"`
	Target    string    `json:"target"`
	LastCheck time.Time `json:"last_check"`
	Error     string    `json:"error_msg"`
	Expired   bool      `json:"expired"` // the signatures of the update servers
}

// Project is one mirrored tree.
type Project struct {
	status.State
	Progress *status.Progress // nil while no run is on
}

// Sources are where a Status comes from.
type Sources struct {
	// About is what does not change while this runs.
	About Status
	// Projects are the names of those hosted here.
	Projects []string
	Run      fs.FS  // /run
	SyncD    string // directory of the projects' state
	Now      func() time.Time
	Up       func() time.Duration

	began time.Duration // Up at the first Gather, at least 1
}

// Gather reads what there is. What is missing or damaged is left out: it is the
// health checks' business to complain.
func (s *Sources) Gather() Status {
	st := s.About
	st.Now, st.Up = s.Now(), s.Up()
	if s.began == 0 {
		s.began = max(st.Up, 1)
	}
	st.Running = st.Up - s.began
	st.Health = load[Health](s.Run, "health.json")
	st.Network = load[Network](s.Run, "netd/state.json")
	st.Update = load[Update](s.Run, "updated/update.json")
	st.Stick = load[Stick](s.Run, "updated/stick.json")
	for _, name := range s.Projects {
		st.Projects = append(st.Projects, Project{
			State:    status.Load(s.SyncD, name),
			Progress: load[status.Progress](s.Run, "syncd/"+name+".progress.json"),
		})
	}
	return st
}
