package desk

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/rollout"
)

func (d *desk) rollbackCommand() *cobra.Command {
	var s site
	var only []string
	c := &cobra.Command{
		Use:   "rollback VERSION",
		Short: "emergency: let the nodes go back to an older release at once",
		Long: `Sign an emergency downgrade: all nodes, or those of --only, take the older release
without waiting for their maintenance window. The release must still be in the
repository.`,
		Example: "  mirrorctl rollback 2026.11.1-0123abcdef --fleet fleet",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r := d.repository(&s)
			rel, err := r.Release(args[0])
			if err != nil {
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
			return s.answer(c, made, fmt.Sprintf("%s: emergency, %s go back to it at once\n", made.Version, who))
		},
	}
	s.flags(c, false)
	c.Flags().StringSliceVar(&only, "only", nil, "only these nodes")
	return c
}
