package desk

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"micromirror/packages/release"
	"micromirror/packages/repository"
	"micromirror/packages/rollout"
)

func (d *desk) rolloutCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollout",
		Short: "decide which nodes take a release",
		Long: `Decide which nodes take a release. It begins with the canaries; each further wave,
10, 50 and 100 percent of the nodes, opens only by "mirrorctl rollout next", and
that only when every canary itself reports the release in good health for the
soak time, and still synchronises and hears of updates. Without it nothing
advances: a bad release ends with the canaries, which go back by themselves.`,
	}
	c.AddCommand(d.startCommand(), d.nextCommand(), d.statusCommand(), d.haltCommand())
	return c
}

// rolloutSite is a site whose nodes are asked for their health.
type rolloutSite struct {
	site
	addresses []string
}

func (s *rolloutSite) flags(c *cobra.Command) {
	s.site.flags(c, false)
	c.Flags().StringArrayVar(&s.addresses, "address", nil, "NODE=HOST:PORT to ask for a node's health, instead of its name")
}

func (d *desk) startCommand() *cobra.Command {
	var s site
	var want rollout.Rollout
	c := &cobra.Command{
		Use:   "start VERSION --canary NODE,...",
		Short: "let the canaries take a published release",
		Example: "  mirrorctl rollout start 2026.11.22-abcdef0123 --canary ams1,fra2 --fleet fleet\n" +
			"  mirrorctl rollout start 2026.11.22-abcdef0123 --canary ams1 --soak 48h --minimum 2026.10.1",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			want.Version = args[0]
			r := d.repository(&s)
			rel, err := r.Release(want.Version)
			if err != nil {
				return err
			}
			if len(want.Canaries) == 0 {
				return errors.New("--canary: name at least one node that takes the release first")
			}
			if err := Fleet(s.fleet).canaries(want.Canaries, rel); err != nil {
				return err
			}
			made, err := r.SetRollout(c.Context(), want)
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%s: open for %s\nnext, after %s in good health: mirrorctl rollout next\n",
				made.Version, strings.Join(made.Canaries, ", "), made.Soak)
			return s.answer(c, made, text)
		},
	}
	s.flags(c, false)
	c.Flags().StringSliceVar(&want.Canaries, "canary", nil, "nodes that take the release first")
	c.Flags().StringVar(&want.Soak, "soak", "24h", "how long they must be healthy before the next wave")
	c.Flags().StringVar(&want.Minimum, "minimum", "", "oldest release that can be updated directly")
	return c
}

// canaries checks that the nodes exist and can run the release.
func (f Fleet) canaries(names []string, rel *release.Release) error {
	for _, name := range names {
		cfg, err := f.Read(name)
		if err != nil {
			return fmt.Errorf("--canary %s: %w", name, err)
		}
		if len(rel.Hardware) > 0 && !slices.Contains(rel.Hardware, cfg.Node.Hardware) {
			return fmt.Errorf("--canary %s: is a %s, and release %s runs on %s only", name, cfg.Node.Hardware, rel.Version, strings.Join(rel.Hardware, ", "))
		}
	}
	return nil
}

type nextAnswer struct {
	Opened   bool             `json:"opened"`
	Rollout  *rollout.Rollout `json:"rollout"`
	Canaries []nodeState      `json:"canaries"`
	Why      string           `json:"why,omitempty"` // it was not opened
}

func (d *desk) nextCommand() *cobra.Command {
	var s rolloutSite
	var despite []string
	c := &cobra.Command{
		Use:   "next",
		Short: "open the next wave, if the canaries have been healthy for long enough",
		Long: `Open the next wave: 10, 50, 100 percent. Each canary is asked over HTTP; it must
run the release, be healthy, and have been for the soak time, which also must have
passed since the last wave opened. Checks of the world outside (synchronisation of
each project, update channel, clock, gateway) must pass at that moment, too; with
--despite one of them does not count, as when its cause is known to be elsewhere.
Otherwise nothing is signed, the canaries that are not ready are named, and the
exit code is 1.`,
		Example: "  mirrorctl rollout next --fleet fleet\n" +
			"  mirrorctl rollout next --despite \"project debian\"",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := d.next(c, &s, despite)
			if a == nil || err != nil {
				return err
			}
			if err := s.answer(c, a, nextText(a)); err != nil || a.Why == "" {
				return err
			}
			return errors.New(a.Why)
		},
	}
	s.flags(c)
	c.Flags().StringArrayVar(&despite, "despite", nil, "a check of the world outside that may fail on the canaries")
	return c
}

func (d *desk) next(c *cobra.Command, s *rolloutSite, despite []string) (*nextAnswer, error) {
	r := d.repository(&s.site)
	now, err := current(r)
	if err != nil {
		return nil, err
	}
	percent, more := now.Next()
	if !more {
		return &nextAnswer{Rollout: now}, nil
	}
	if len(now.Canaries) == 0 {
		return nil, fmt.Errorf(`the roll-out of %s is halted; "mirrorctl rollout start %s --canary NODE" begins it again`, now.Version, now.Version)
	}
	if now.Emergency {
		return nil, fmt.Errorf(`release %s is in force as an emergency, which has no waves; "mirrorctl rollout start VERSION --canary NODE" begins a roll-out`, now.Version)
	}
	states, err := d.ask(c.Context(), s, now, now.Canaries)
	if err != nil {
		return nil, err
	}
	for _, n := range states {
		maps.DeleteFunc(n.Warnings, func(check, _ string) bool { return slices.Contains(despite, check) })
	}
	a := &nextAnswer{Rollout: now, Canaries: states}
	if a.Why, err = d.notYet(now, states); err != nil || a.Why != "" {
		return a, err
	}
	want := *now
	want.Percent, want.Sequence, want.Issued = percent, now.Sequence+1, time.Time{}
	a.Rollout, err = r.SetRollout(c.Context(), want)
	a.Opened = err == nil
	return a, err
}

// current is the decision in force.
func current(r *repository.Repository) (*rollout.Rollout, error) {
	now, err := r.Rollout()
	if errors.Is(err, repository.ErrNoTarget) {
		return nil, errors.New(`there is no roll-out; "mirrorctl rollout start" begins one`)
	}
	return now, err
}

// notYet says what speaks against the next wave; nothing does if it is empty.
func (d *desk) notYet(now *rollout.Rollout, canaries []nodeState) (string, error) {
	soak, err := now.SoakTime()
	if err != nil {
		return "", err
	}
	var why []string
	if open := d.now().Sub(now.Issued); open < soak {
		why = append(why, fmt.Sprintf("this wave (%d percent) has been open for %s of %s", now.Percent, brief(open), brief(soak)))
	}
	for _, n := range canaries {
		switch {
		case n.Problem != "":
			why = append(why, fmt.Sprintf("canary %s: %s", n.Name, n.Problem))
		case n.healthyFor() < soak:
			why = append(why, fmt.Sprintf("canary %s: healthy for %s of %s", n.Name, brief(n.healthyFor()), brief(soak)))
		case len(n.Warnings) > 0:
			why = append(why, fmt.Sprintf("canary %s: %s", n.Name, n.warned()))
		}
	}
	if len(why) > 0 {
		why[0] = "the next wave stays closed: " + why[0]
	}
	return strings.Join(why, "; "), nil
}

// brief is a duration without fractions.
func brief(d time.Duration) string { return d.Truncate(time.Second).String() }

func nextText(a *nextAnswer) string {
	switch {
	case a.Opened:
		return fmt.Sprintf("%s: open for %d percent of the nodes\n", a.Rollout.Version, a.Rollout.Percent)
	case a.Why == "":
		return fmt.Sprintf("%s: open for all nodes, nothing to do\n", a.Rollout.Version)
	default:
		return ""
	}
}

func (d *desk) haltCommand() *cobra.Command {
	var s site
	c := &cobra.Command{
		Use:   "halt",
		Short: "let no further node take the release",
		Long: `Let no further node take the release. Nodes that run it keep it; "mirrorctl
rollback" takes it back, "mirrorctl rollout start" begins again.`,
		Example: "  mirrorctl rollout halt --fleet fleet",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r := d.repository(&s)
			now, err := current(r)
			if err != nil {
				return err
			}
			want := *now
			want.Percent, want.Canaries, want.Sequence, want.Issued = 0, nil, now.Sequence+1, time.Time{}
			made, err := r.SetRollout(c.Context(), want)
			if err != nil {
				return err
			}
			return s.answer(c, made, fmt.Sprintf("%s: halted, no further node takes it\n", made.Version))
		},
	}
	s.flags(c, false)
	return c
}
