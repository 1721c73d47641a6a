package desk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"micromirror/packages/repository"
)

func (d *desk) keysCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "make, change and show the keys of the update repository",
		Long: `The keys that sign what nodes take:

  root       three keys, two of which sign together. They only say which keys
             are good, so they belong off line: move each root-*.key to a medium
             of its own, held by different people, and name the folders with
             --keys when they are needed: to change a key, and every two years.
  targets    signs releases, configuration and roll-outs.
  snapshot,  sign that all this is current, for 30 days; "mirrorctl renew" does it
  timestamp  from cron.

Publishing needs the last three, so they are on one computer, the one that publishes
and runs cron; targets may be on a stick or have a passphrase, as cron does not use it.

One root key lost: "mirrorctl keys rotate root --key ID" with the other two makes
a new third; nodes notice nothing. Two lost: nobody can change keys any more, and
the fleet needs new disks; hence replace the first at once. Any other key lost or
stolen: "mirrorctl keys rotate ROLE"; what the old one signs is worthless to a
node from its next contact on.`,
	}
	c.AddCommand(d.keysInitCommand(), d.keysRotateCommand(), d.keysShowCommand())
	return c
}

func (d *desk) keysInitCommand() *cobra.Command {
	var s site
	c := &cobra.Command{
		Use:     "init",
		Short:   "make the keys and an empty update repository",
		Example: "  mirrorctl keys init --fleet fleet --passphrase",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := os.Stat(Fleet(s.fleet).File()); err != nil {
				return fmt.Errorf("--fleet: %w; name the folder with fleet.json", err)
			}
			r := d.repository(&s)
			if err := r.Init(c.Context()); err != nil {
				return err
			}
			roles, err := r.Status()
			if err != nil {
				return err
			}
			return s.answer(c, roles, fmt.Sprintf(`%s: an empty update repository; publish this folder on a web server and
name its URL in fleet.json, update.urls. Images from now on trust %s;
boxes written before do not take updates.

%s
Next: move each root key to a medium of its own, see "mirrorctl help keys".
`, r.Dir, r.Root, keyTable(roles)))
		},
	}
	s.flags(c, true)
	return c
}

func (d *desk) keysRotateCommand() *cobra.Command {
	var s site
	var id string
	c := &cobra.Command{
		Use:   "rotate ROLE",
		Short: "replace the key of a role (root, targets, snapshot, timestamp)",
		Long: `Replace the key of a role. Two root keys are needed, old ones. Of root all three
are replaced, or the one that --key names, which may be lost. The files of the
replaced keys get the suffix .retired: delete them once every node has been in
touch.`,
		Example: "  mirrorctl keys rotate timestamp --fleet fleet --keys /media/stick1 --keys /media/stick2\n" +
			"  mirrorctl keys rotate root --key 1a2b3c4d --fleet fleet --keys /media/stick1 --keys /media/stick2",
		Args:      cobra.ExactArgs(1),
		ValidArgs: repository.Roles(),
		RunE: func(c *cobra.Command, args []string) error {
			r := d.repository(&s)
			gone, err := r.RotateKey(c.Context(), args[0], id)
			if err != nil {
				return err
			}
			roles, err := r.Status()
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%s: replaced %s\n\n%s", args[0], strings.Join(shortIDs(gone), ", "), keyTable(roles))
			if args[0] == metadata.ROOT {
				text += "\nNext: move each new root key to a medium of its own.\n"
			}
			return s.answer(c, map[string]any{"role": args[0], "gone": gone, "roles": roles}, text)
		},
	}
	s.flags(c, true)
	c.Flags().StringVar(&id, "key", "", "replace only the key whose ID begins so")
	return c
}

func (d *desk) keysShowCommand() *cobra.Command {
	var s site
	c := &cobra.Command{
		Use:     "show",
		Short:   "show the roles, their keys, and until when they are good",
		Example: "  mirrorctl keys show --fleet fleet",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			roles, err := d.repository(&s).Status()
			if err != nil {
				return err
			}
			return s.answer(c, roles, keyTable(roles))
		},
	}
	s.flags(c, false)
	return c
}

func shortIDs(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id[:min(8, len(id))]
	}
	return out
}

func keyTable(roles []repository.Role) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ROLE\tVERSION\tGOOD UNTIL\tKEY\tFILE")
	for _, r := range roles {
		for i, k := range r.Keys {
			name, version, until := "", "", ""
			if i == 0 {
				name, version, until = r.Name, fmt.Sprint(r.Version), r.Expires.Format("2006-01-02 15:04")
			}
			if len(r.Keys) > 1 && i == 0 {
				name = fmt.Sprintf("%s (%d of %d)", r.Name, r.Threshold, len(r.Keys))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, version, until, shortIDs([]string{k.ID})[0], keyPlace(k))
		}
	}
	w.Flush()
	return b.String()
}

func keyPlace(k repository.KeyInfo) string {
	switch {
	case k.File == "":
		return "not here"
	case k.Encrypted:
		return filepath.Clean(k.File) + " (encrypted)"
	default:
		return filepath.Clean(k.File)
	}
}
