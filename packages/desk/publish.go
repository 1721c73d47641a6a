package desk

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"micromirror/packages/release"
	"micromirror/packages/repository"
)

func (d *desk) releaseCommand() *cobra.Command {
	var s site
	var folder, source string
	var build bool
	c := &cobra.Command{
		Use:   "release",
		Short: "sign a built release and put it into the update repository",
		Long: `Sign a built release and put it into the update repository. No node takes it yet:
"mirrorctl rollout start" decides that. A release that is there already changes
nothing; another one of the same version is refused.

There is one repository folder: work on it in one place, and back it up with the
keys. So that nodes never see half of a change, carry it to a web server in this
order:
  rsync -a --exclude=timestamp.json --exclude='*.root.json' FLEET/repository/ HOST:DIR/
  rsync -a --exclude='*.root.json' FLEET/repository/ HOST:DIR/
  rsync -a FLEET/repository/ HOST:DIR/
and, to remove there what "mirrorctl renew" has removed here:
  rsync -a --delete FLEET/repository/ HOST:DIR/`,
		Example: "  mirrorctl release --build --fleet fleet\n  mirrorctl release --release build/release --fleet fleet",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if build {
				var err error
				if folder, err = d.build(c.Context(), source, c.ErrOrStderr()); err != nil {
					return err
				}
			}
			rel, added, err := d.repository(&s).AddRelease(c.Context(), folder)
			if err != nil {
				return err
			}
			return s.answer(c, releaseAnswer{rel.Version, added, rel.Built, rel.Hardware, size(rel)}, releaseText(rel, added))
		},
	}
	s.flags(c, false)
	c.Flags().StringVar(&folder, "release", "build/release", "folder of the release")
	c.Flags().BoolVar(&build, "build", false, "build the release first")
	c.Flags().StringVar(&source, "source", ".", "source tree to build")
	c.AddCommand(d.removeCommand())
	return c
}

func (d *desk) removeCommand() *cobra.Command {
	var s site
	c := &cobra.Command{
		Use:   "remove VERSION",
		Short: "take an old release out of the update repository",
		Long: `Take a release out of the update repository and remove its files. Nodes cannot go
back to it any more, so keep the last few.`,
		Example: "  mirrorctl release remove 2026.10.1-0123abcdef --fleet fleet",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := d.repository(&s).RemoveRelease(c.Context(), args[0]); err != nil {
				return err
			}
			return s.answer(c, map[string]string{"removed": args[0]}, args[0]+": removed\n")
		},
	}
	s.flags(c, false)
	return c
}

type releaseAnswer struct {
	Version  string    `json:"version"`
	Added    bool      `json:"added"` // false: it was there already
	Built    time.Time `json:"built"`
	Hardware []string  `json:"hardware"`
	Size     int64     `json:"size"` // of what a node without anything fetches
}

func size(r *release.Release) int64 {
	return r.Kernel.Size + r.Initrd.Size + r.Root.Size + r.Loader.Size
}

func releaseText(r *release.Release, added bool) string {
	if !added {
		return fmt.Sprintf("%s: was published already\n", r.Version)
	}
	return fmt.Sprintf("%s: published, %d MiB, for %s\nnext: mirrorctl rollout start %s --canary NODE\n",
		r.Version, size(r)>>20, strings.Join(r.Hardware, ", "), r.Version)
}

// expirySoon is how long before the end renew warns about what cron cannot renew.
const expirySoon = 60 * 24 * time.Hour

func (d *desk) renewCommand() *cobra.Command {
	var s site
	var roles []string
	var quiet bool
	c := &cobra.Command{
		Use:   "renew",
		Short: "sign anew that the repository is current (from cron, daily)",
		Long: `Sign snapshot and timestamp anew, for 30 days. Run it daily from cron, and carry
the repository to the web server afterwards. Without it nodes take no updates
after 30 days; they serve as before. The exit code is 0 when it worked. What cron
cannot renew, targets (a year from the last publish) and root (two years), is
warned about on standard error 60 days before its end; --role renews it.`,
		Example: "  mirrorctl renew --quiet --fleet fleet\n" +
			"  mirrorctl renew --role root --fleet fleet --keys /media/stick1 --keys /media/stick2",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r := d.repository(&s)
			if err := r.Renew(c.Context(), roles...); err != nil {
				return err
			}
			now, err := r.Status()
			if err != nil {
				return err
			}
			for _, role := range soon(now, d.now()) {
				fmt.Fprintf(c.ErrOrStderr(), "mirrorctl: %s is good only until %s: run \"mirrorctl renew --role %s\" with its keys\n",
					role.Name, role.Expires.Format(time.DateOnly), role.Name)
			}
			if quiet && !s.json {
				return nil
			}
			return s.answer(c, now, renewText(now))
		},
	}
	s.flags(c, false)
	c.Flags().StringSliceVar(&roles, "role", nil, "renew this role too: targets or root")
	c.Flags().BoolVar(&quiet, "quiet", false, "print warnings and errors only")
	return c
}

func soon(roles []repository.Role, now time.Time) []repository.Role {
	return slices.DeleteFunc(slices.Clone(roles), func(r repository.Role) bool {
		online := r.Name == metadata.SNAPSHOT || r.Name == metadata.TIMESTAMP
		return online || r.Expires.Sub(now) > expirySoon
	})
}

func renewText(roles []repository.Role) string {
	var b strings.Builder
	for _, r := range roles {
		fmt.Fprintf(&b, "%-9s good until %s\n", r.Name, r.Expires.Format("2006-01-02 15:04 MST"))
	}
	return b.String()
}
