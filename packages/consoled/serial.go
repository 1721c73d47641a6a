package consoled

import (
	"slices"
	"strings"
	"time"
)

// Lines says the same for a log: only what stays the same for long, so that it
// need be said again only when it has changed.
func Lines(s Status) []string {
	network := "network not known yet"
	if n := s.Network; n != nil {
		network = join(", ", n.port(), n.addresses(), "gateway "+n.gateways())
	}
	version := s.Version
	if s.Health != nil && s.Health.Slot != "" {
		version = "slot " + s.Health.Slot + " " + version
	}
	lines := []string{
		join(", ", s.Name, s.Sponsor, s.Model, version),
		network,
	}
	problems := s.Problems()
	for _, p := range problems {
		if p.Bad {
			lines = append(lines, join(" What to do: ", "problem: "+p.What, p.Do))
		}
	}
	switch {
	case s.Starting():
		lines = append(lines, "starting")
	case len(problems) == 0:
		lines = append(lines, "all is well")
	case !problems[0].Bad:
		lines = append(lines, "works, with "+count(len(problems), "warning", "warnings"))
	}
	for i, l := range lines {
		lines[i] = strings.Map(plain, l)
	}
	return lines
}

// pause is the shortest time between two blocks of lines: what flaps must not
// fill the log.
const pause = 30 * time.Second

// teller tells a log what has changed.
type teller struct {
	say  func(line string)
	last []string
	at   time.Time
}

// tell says the lines if they are not those of the last time. Nothing is said
// before the start is over, for there is nothing to say yet.
func (t *teller) tell(now time.Time, s Status) {
	lines := Lines(s)
	if slices.Equal(lines, t.last) || !t.at.IsZero() && now.Sub(t.at) < pause || s.Starting() && len(s.Problems()) == 0 {
		return
	}
	for _, l := range lines {
		if !slices.Contains(t.last, l) {
			t.say(l)
		}
	}
	t.last, t.at = lines, now
}
