package desk

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/release"
	"micromirror/packages/repository"
	"micromirror/packages/rollout"
)

func (d *desk) rollbackCommand() *cobra.Command {
	var s site
	var only []string
	c := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "emergency: let the nodes go back to an older release",
		Long: `Sign an emergency downgrade: all nodes, or those of --only, take the older release at
their next look, within 80 minutes, without waiting for their maintenance window.
The release must still be in the repository. A node on which it failed three times
does not take it, and one that is on trial or unhealthy only when that is over.`,
		Example: "  mirrorctl rollback 2026.11.1-0123abcdef --fleet fleet",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r := d.repository(&s)
			rel, err := r.Release(args[0])
			if err != nil {
				return err
			}
			if err := goesBack(r, rel); err != nil {
				return err
			}
			want := rollout.Rollout{Version: args[0], Emergency: true, Canaries: only}
			who := strings.Join(only, ", ")
			if len(only) == 0 {
				want.Percent, who = 100, "all nodes"
			}
			if err := Fleet(s.fleet).canaries(only, rel); err != nil {
				return err
			}
			made, err := r.SetRollout(c.Context(), want)
			if err != nil {
				return err
			}
			return s.answer(c, made, fmt.Sprintf("%s: emergency, %s go back to it at their next look, once the repository is copied\n", made.Version, who))
		},
	}
	s.flags(c, false)
	c.Flags().StringSliceVar(&only, "only", nil, "only these nodes")
	return c
}

// goesBack refuses the release that is being rolled out, and newer ones: whoever is
// in a hurry names the bad release, and would open it to all nodes.
func goesBack(r *repository.Repository, rel *release.Release) error {
	now, err := r.Rollout()
	if errors.Is(err, repository.ErrNoTarget) {
		return nil
	}
	if err != nil {
		return err
	}
	if rel.Version == now.Version && (now.Emergency || now.Percent == 100) {
		return nil // it is everybody's already
	}
	bad, err := r.Release(now.Version)
	if err != nil {
		return err
	}
	if rel.Built.Before(bad.Built) {
		return nil
	}
	return fmt.Errorf("%s is no way back from %s, which is in force: name the older release to go back to; \"mirrorctl rollout status\" lists them", rel.Version, now.Version)
}
