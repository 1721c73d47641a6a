package desk

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"micromirror/packages/repository"
	"micromirror/packages/rollout"
)

type statusAnswer struct {
	Releases []string          `json:"releases"` // oldest first
	Rollout  *rollout.Rollout  `json:"rollout"`  // null before the first
	Expires  time.Time         `json:"expires"`  // of the timestamp
	Roles    []repository.Role `json:"roles"`
	Nodes    []nodeState       `json:"nodes"`
}

func (d *desk) statusCommand() *cobra.Command {
	var s rolloutSite
	c := &cobra.Command{
		Use:     "status",
		Short:   "show the roll-out and what each node of the fleet runs",
		Example: "  mirrorctl rollout status --fleet fleet",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := d.status(c, &s)
			if err != nil {
				return err
			}
			return s.answer(c, a, statusText(a))
		},
	}
	s.flags(c)
	return c
}

func (d *desk) status(c *cobra.Command, s *rolloutSite) (*statusAnswer, error) {
	r := d.repository(&s.site)
	rels, err := r.Releases()
	if err != nil {
		return nil, err
	}
	a := &statusAnswer{Releases: []string{}, Nodes: []nodeState{}}
	for _, rel := range rels {
		a.Releases = append(a.Releases, rel.Version)
	}
	if a.Roles, err = r.Status(); err != nil {
		return nil, err
	}
	a.Expires = a.Roles[len(a.Roles)-1].Expires
	now, err := r.Rollout()
	if errors.Is(err, repository.ErrNoTarget) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	a.Rollout = now
	names, err := Fleet(s.fleet).Nodes()
	if err != nil {
		return nil, err
	}
	a.Nodes, err = d.ask(c.Context(), s, now, names)
	return a, err
}

func statusText(a *statusAnswer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "releases: %s\nsigned until %s\n", strings.Join(a.Releases, ", "), a.Expires.Format("2006-01-02 15:04 MST"))
	r := a.Rollout
	if r == nil {
		return b.String() + "no roll-out\n"
	}
	kind := "roll-out"
	if r.Emergency {
		kind = "emergency roll-out"
	}
	fmt.Fprintf(&b, "%s %d: %s for %d percent, canaries [%s], soak %s, since %s\n\n", kind, r.Sequence, r.Version, r.Percent,
		strings.Join(r.Canaries, ", "), r.Soak, r.Issued.Format("2006-01-02 15:04 MST"))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tWAVE\tRUNS\tHEALTH")
	for _, n := range a.Nodes {
		wave, state := "-", n.Problem
		switch {
		case n.Canary:
			wave = "canary"
		case n.Included:
			wave = "open"
		}
		if state == "" {
			state = "healthy for " + brief(n.healthyFor())
			if len(n.Warnings) > 0 {
				state += ", but " + n.warned()
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Name, wave, n.Version, state)
	}
	w.Flush()
	return b.String()
}
