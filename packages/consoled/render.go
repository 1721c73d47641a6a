package consoled

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"micromirror/packages/health/age"
	"micromirror/packages/mirror/status"
)

// Render lays a status out: who this box is, whether all is well, what to do if
// not, the facts, the projects as far as there is room, and what the box needs.
func Render(s Status) Frame {
	head := append(s.head(), s.verdict())
	facts, foot := s.facts(), s.foot()
	// One blank line each around the facts, and three lines for the projects.
	room := Rows - len(head) - len(facts) - len(foot) - 5
	middle := append(problemLines(s.Problems(), room), line(Plain, ""))
	middle = append(append(middle, facts...), line(Plain, ""))
	middle = append(middle, s.projects(Rows-len(head)-len(middle)-len(foot))...)
	return assemble(head, middle, foot)
}

// assemble puts the parts at the top and at the bottom of a frame.
func assemble(head, middle, foot []Line) (f Frame) {
	for i := range f {
		f[i] = line(Plain, "")
	}
	n := copy(f[:], head)
	copy(f[n:], middle)
	copy(f[Rows-len(foot):], foot)
	return f
}

// Farewell is shown while the node goes down, and stays until it has.
func Farewell(s Status) Frame {
	head := append(s.head(), line(Notice, " SHUTTING DOWN OR RESTARTING. Please do not cut the power now."))
	return assemble(head, []Line{
		line(Plain, ""),
		line(Plain, " After a press on the power button the box switches itself off within a minute."),
		line(Plain, " Press the button again to switch it on. After an update it comes back by itself."),
	}, nil)
}

func (s *Status) head() []Line {
	sponsor := ""
	if s.Sponsor != "" {
		sponsor = "hosted by " + s.Sponsor
	}
	return []Line{
		spread(Title, "MICRO MIRROR  "+s.Name, s.Now.UTC().Format("2006-01-02 15:04")+" UTC "),
		spread(Title, sponsor, s.Model+" "),
	}
}

// verdict is the one line that is read from across the room.
func (s *Status) verdict() Line {
	problems := s.Problems()
	switch {
	case s.Stick != nil && s.Stick.State == "trying":
		return line(Notice, " TRYING THE USB STICK. This takes up to six minutes; please leave it in.")
	case s.Starting() && len(problems) == 0:
		return line(Notice, " STARTING. This takes about a minute.")
	case len(problems) > 0 && problems[0].Bad:
		return line(Bad, " PLEASE HELP. "+count(len(problems), "thing is", "things are")+" wrong with this box:")
	case len(problems) > 0:
		return line(Notice, " ALMOST WELL. This box works; "+count(len(problems), "thing needs", "things need")+" attention:")
	case s.Update.busy():
		return line(Good, " ALL IS WELL. A new release is being installed; please leave the power on.")
	case s.first():
		return line(Good, " ALL IS WELL. The first copies are being fetched, which can take days.")
	}
	return line(Good, " ALL IS WELL. There is nothing to do here.")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// steps are the states of updated on the way to a release, in words.
var steps = map[string]string{
	"downloading": "downloading %s",
	"installing":  "installing %s",
	"waiting":     "%s is installed, and starts in the maintenance window",
	"rebooting":   "restarting into %s",
	"trial":       "trying %s",
}

// busy reports whether a release is on its way.
func (u *Update) busy() bool { return u != nil && u.Target != "" && steps[u.State] != "" }

// first reports whether a project is being fetched for the first time.
func (s *Status) first() bool {
	for _, p := range s.Projects {
		if p.Progress != nil && p.LastUpdate.IsZero() {
			return true
		}
	}
	return false
}

// longest keeps what others say to three lines, longestUpdate to two: what is wrong
// matters more.
const (
	longest       = 220
	longestUpdate = 110
)

// problemLines fills at most the room given.
func problemLines(problems []Problem, room int) (lines []Line) {
	const margin = 3
	for i, p := range problems {
		style := Strong
		if !p.Bad {
			style = Plain
		}
		var block []Line
		for j, text := range wrap(clip(p.What, longest), Columns-margin-2) {
			mark := "   "
			if j == 0 {
				mark = " - "
			}
			block = append(block, line(style, mark+text))
		}
		if p.Do != "" {
			for _, text := range wrap("What to do: "+clip(p.Do, longest), Columns-margin-2) {
				block = append(block, line(Plain, "   "+text))
			}
		}
		left := len(problems) - i
		if spare := min(left-1, 1); len(lines)+len(block)+spare > room {
			if len(lines) < room {
				lines = append(lines, line(Plain, fmt.Sprintf("   (and %d more)", left)))
			}
			break
		}
		lines = append(lines, block...)
	}
	return lines
}

// facts are the lines about the box itself.
func (s *Status) facts() []Line {
	var lines []Line
	add := func(label, text string) {
		for _, part := range wrap(text, Columns-12) {
			lines = append(lines, line(Plain, fmt.Sprintf(" %-10s%s", label, part)))
			label = ""
		}
	}
	add("System", s.system())
	if n := s.Network; n == nil {
		add("Network", "looking for a network port")
	} else {
		add("Network", n.port())
		add("Address", n.addresses())
		add("Gateway", n.gateways())
	}
	if fact := join("; ", s.Health.fact("space"), s.Health.fact("wear")); fact != "" {
		add("Disk", fact)
	}
	if s.Update != nil {
		add("Update", clip(s.Update.text(s.Now), longestUpdate))
	}
	return lines
}

func (s *Status) system() string {
	version, slot := s.Version, ""
	if s.Health != nil {
		if s.Health.Version != "" {
			version = s.Health.Version
		}
		if s.Health.Slot != "" {
			slot = "slot " + s.Health.Slot
		}
	}
	return join(", ", slot, "version "+version, "up "+age.Text(s.Up), s.Health.fact("temperature"))
}

// join leaves out what is empty.
func join(separator string, parts ...string) string {
	out := ""
	for _, p := range parts {
		if p != "" && out != "" {
			out += separator
		}
		out += p
	}
	return out
}

func (n *Network) port() string {
	if n.MAC == "" {
		return "no network port found"
	}
	speed := "no carrier"
	if n.Carrier {
		speed = "connected"
		if n.SpeedMbit > 0 {
			speed = fmt.Sprintf("%d Mbit/s", n.SpeedMbit)
		}
	}
	return join(", ", n.Uplink, speed, "MAC "+n.MAC, n.Driver)
}

func (n *Network) addresses() string {
	var list []string
	for _, a := range n.Addresses {
		switch text := a.Address.String(); a.State {
		case "ok":
			list = append(list, text)
		case "conflict":
			list = append(list, text+" (used by another machine)")
		default:
			list = append(list, text+" ("+a.State+")")
		}
	}
	if len(list) == 0 {
		return "none yet"
	}
	return strings.Join(list, ", ")
}

func (n *Network) gateways() string {
	var list []string
	for _, g := range n.Gateways {
		answer := "does not answer"
		if g.Reachable {
			answer = "answers"
		}
		list = append(list, g.Address.WithZone("").String()+" "+answer)
	}
	if len(list) == 0 {
		return "none yet"
	}
	return strings.Join(list, ", ")
}

func (u *Update) text(now time.Time) string {
	look := "not looked yet"
	if !u.LastCheck.IsZero() {
		look = "looked " + age.Text(now.Sub(u.LastCheck)) + " ago"
	}
	switch {
	case u.busy():
		return fmt.Sprintf(steps[u.State], u.Target)
	case u.State == "failed" && u.Target != "":
		return u.Target + " did not work here and was given up"
	case u.Expired:
		return "none come until the maintainers sign anew, " + look
	case u.Error != "":
		return clip(u.Error, longest)
	}
	return "nothing newer, " + look
}

// projects fills the room that is left.
func (s *Status) projects(room int) (lines []Line) {
	if room < 2 || len(s.Projects) == 0 {
		return nil
	}
	lines = append(lines, row(Dim, "Project", "State", "In step with upstream"))
	// Should there not be room for all, those with something to tell come first.
	sorted := slices.SortedStableFunc(slices.Values(s.Projects), func(a, b Project) int { return a.rank() - b.rank() })
	for i, p := range sorted {
		if len(lines) == room-1 && i < len(sorted)-1 {
			return append(lines, line(Plain, fmt.Sprintf(" (and %d more)", len(sorted)-i)))
		}
		last := "never yet"
		if !p.LastUpdate.IsZero() {
			last = age.Text(s.Now.Sub(p.LastUpdate)) + " ago"
		}
		lines = append(lines, row(Plain, p.Name, p.text(), last))
	}
	return lines
}

func row(style Style, a, b, c string) Line {
	return line(style, fmt.Sprintf(" %-18s %-38s %s", clip(a, 18), clip(b, 38), clip(c, 21)))
}

func (p *Project) rank() int {
	switch {
	case p.Progress != nil:
		return 0
	case p.Status == status.Failed || !p.Serving:
		return 1
	}
	return 2
}

func (p *Project) text() string {
	switch {
	case p.Progress != nil:
		return p.progress()
	case !p.Serving:
		return "is being put in order"
	case p.Status == status.Failed:
		return "failed, tried again by itself"
	case p.Status == status.Syncing:
		return "looking for news"
	case p.Status == status.Never:
		return "waits for its turn"
	case p.Stale:
		return "up to date, but upstream is old"
	}
	return "up to date"
}

// phases are what a run is about, in words.
var phases = map[string]string{
	"list": "asking upstream", "plan": "looking for news", "fetch": "fetching", "verify": "checking", "publish": "publishing",
}

func (p *Project) progress() string {
	g := p.Progress
	phase := cmp.Or(phases[g.Phase], g.Phase)
	if g.BytesTotal <= 0 {
		return phase
	}
	text := fmt.Sprintf("%s %d %%", phase, g.BytesDone*100/g.BytesTotal)
	if g.BytesPerSecond > 0 {
		text += fmt.Sprintf(", %.1f MB/s", float64(g.BytesPerSecond)/1e6)
	}
	if g.ETASeconds > 0 {
		text += ", " + age.Text(time.Duration(g.ETASeconds)*time.Second) + " left"
	}
	return text
}

// foot says what the box needs, and whom to ask.
func (s *Status) foot() []Line {
	out := []string{"DNS", "UDP 123", "TCP 80 and 443"}
	if s.Upstream != "" {
		out = append(out, "TCP "+port(s.Upstream, "873"))
	}
	if s.Broker != "" {
		out = append(out, "TCP "+port(s.Broker, "1883"))
	}
	needs := "It needs in: TCP 80, 443, 873, ICMP and ICMPv6; out: " + strings.Join(out, ", ") + "."
	var lines []Line
	for _, text := range wrap(needs, Columns-2) {
		lines = append(lines, line(Dim, " "+text))
	}
	return append(lines, spread(Dim, "Questions: "+s.asks(), "The power button shuts down cleanly. "))
}

// port words host[:port] as a port and where it is.
func port(address, usual string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return fmt.Sprintf("%d to %s", ap.Port(), ap.Addr())
	}
	if host, p, ok := strings.Cut(address, ":"); ok && !strings.Contains(p, ":") {
		return p + " to " + host
	}
	return usual + " to " + address
}
