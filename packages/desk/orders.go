package desk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/durable"
	"micromirror/packages/manage"
)

// channelHelp ends the help of every command that a node runs.
const channelHelp = `
The node runs it for whoever holds a key of fleet.json, manage.keys, and comes from
a prefix of firewall.allow; its host key must be the one in FLEET/known_hosts.`

// ordered is the answer to a command that changes something.
type ordered struct {
	Node    string `json:"node"`
	Command string `json:"command"`
}

func (d *desk) orderCommands() []*cobra.Command {
	return []*cobra.Command{d.syncCommand(), d.logsCommand(), d.diagCommand(), d.rebootCommand(), d.drainCommand(), d.undrainCommand()}
}

// tell runs a command of few words and says what happens next.
func (d *desk) tell(c *cobra.Command, s *channel, name, line, next string) error {
	if err := d.order(c.Context(), s, name, line, io.Discard); err != nil {
		return err
	}
	return s.answer(c, ordered{name, line}, name+": "+next+"\n")
}

func (d *desk) syncCommand() *cobra.Command {
	var s channel
	var shrink bool
	c := &cobra.Command{
		Use:   "sync NODE PROJECT",
		Short: "let a node sync a project now",
		Long: `Let a node sync one of its projects now, or once more after the run that is on.
With --allow-shrink one run may delete more than the project's bound: for an
upstream that has really become smaller.` + channelHelp,
		Example: "  mirrorctl sync albuquerque gimp --fleet fleet",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := Fleet(s.fleet).hosts(args[0], args[1]); err != nil {
				return err
			}
			line := manage.CommandSync + " " + args[1]
			if shrink {
				line += " allow-shrink"
			}
			return d.tell(c, &s, args[0], line, args[1]+" is being synced; \"mirrorctl status\" shows how far it is")
		},
	}
	s.flags(c)
	c.Flags().BoolVar(&shrink, "allow-shrink", false, "let this run delete as much as upstream did")
	return c
}

// hosts says when a node has no such project.
func (f Fleet) hosts(name, project string) error {
	cfg, err := f.Read(name)
	if err != nil {
		return err
	}
	for _, p := range cfg.Node.Projects {
		if p == project {
			return nil
		}
	}
	return fmt.Errorf("%s does not host %q, but %s", name, project, strings.Join(cfg.Node.Projects, ", "))
}

func (d *desk) logsCommand() *cobra.Command {
	var s channel
	var lines int
	c := &cobra.Command{
		Use:   "logs NODE",
		Short: "show the newest lines of a node's log",
		Long: `Show the newest lines of a node's log: the kernel's, the services', and what could
be saved of a crash. With --json they are a list of strings.` + channelHelp,
		Example: "  mirrorctl logs albuquerque --fleet fleet --lines 50",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if lines < 1 {
				return fmt.Errorf("--lines: %d is none; use at least 1", lines)
			}
			var b bytes.Buffer
			if err := d.order(c.Context(), &s, args[0], manage.CommandLogs+" "+strconv.Itoa(lines), &b); err != nil {
				return err
			}
			list := []string{}
			for line := range strings.Lines(b.String()) {
				list = append(list, oneWord(strings.ToValidUTF8(line, "?")))
			}
			return s.answer(c, list, strings.Join(list, "\n")+"\n")
		},
	}
	s.flags(c)
	c.Flags().IntVar(&lines, "lines", 200, "how many")
	return c
}

func (d *desk) diagCommand() *cobra.Command {
	var s channel
	var out string
	c := &cobra.Command{
		Use:   "diag NODE",
		Short: "fetch what a node knows of itself, for a report of a fault",
		Long: `Fetch a bundle of what a node knows of itself: log with crash records, health,
network, update and sync state, versions. It holds no secret, but addresses.` + channelHelp,
		Example: "  mirrorctl diag albuquerque --fleet fleet --out albuquerque.tar.gz",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				out = args[0] + "-diag-" + d.now().UTC().Format("20060102T150405Z") + ".tar.gz"
			}
			size, err := d.fetchDiag(c, &s, args[0], out)
			if err != nil {
				return err
			}
			return s.answer(c, map[string]any{"node": args[0], "out": out, "bytes": size}, fmt.Sprintf("%s: %s of node %s\n", out, bytesText(size), args[0]))
		},
	}
	s.flags(c)
	c.Flags().StringVar(&out, "out", "", "file to write (default NODE-diag-TIME.tar.gz)")
	return c
}

// fetchDiag writes the bundle whole or not at all.
func (d *desk) fetchDiag(c *cobra.Command, s *channel, name, out string) (int64, error) {
	tmp, err := os.CreateTemp(filepath.Dir(out), ".diag*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := d.order(c.Context(), s, name, manage.CommandDiag, tmp); err != nil {
		return 0, err
	}
	info, err := tmp.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), durable.Rename(tmp.Name(), out)
}

func (d *desk) rebootCommand() *cobra.Command {
	var s channel
	var yes string
	c := &cobra.Command{
		Use:   "reboot NODE",
		Short: "restart a node through its firmware",
		Long: `Restart a node through its firmware. Users are cut off for a minute or two; drain
it some minutes before, if there are redirectors that heed that.` + channelHelp,
		Example: "  mirrorctl reboot albuquerque --fleet fleet --yes albuquerque",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := d.confirm(c, "reboot it", args[0], yes); err != nil {
				return err
			}
			return d.tell(c, &s, args[0], manage.CommandReboot, "reboots; it is back within two minutes")
		},
	}
	s.flags(c)
	c.Flags().StringVar(&yes, "yes", "", "the node's name once more, instead of being asked for it")
	return c
}

func (d *desk) drainCommand() *cobra.Command {
	var s channel
	var why string
	c := &cobra.Command{
		Use:   "drain NODE",
		Short: "let a node ask for no users",
		Long: `Let a node answer 503 on /healthz, so that redirectors and monitors send users
elsewhere. It serves on whoever comes. It lasts until "mirrorctl undrain NODE" or
the node's next start.` + channelHelp,
		Example: "  mirrorctl drain albuquerque --fleet fleet --why \"moves to another rack\"",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(why) > 200 {
				return fmt.Errorf("--why: %d bytes; use at most 200", len(why))
			}
			return d.tell(c, &s, args[0], strings.TrimSpace(manage.CommandDrain+" "+why), "asks for no users any more")
		},
	}
	s.flags(c)
	c.Flags().StringVar(&why, "why", "", "a few words for the log and for other maintainers")
	return c
}

func (d *desk) undrainCommand() *cobra.Command {
	var s channel
	c := &cobra.Command{
		Use:     "undrain NODE",
		Short:   "let a node that was drained take users again",
		Long:    "Let a node that was drained take users again." + "\n" + channelHelp,
		Example: "  mirrorctl undrain albuquerque --fleet fleet",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return d.tell(c, &s, args[0], manage.CommandUndrain, "takes users again")
		},
	}
	s.flags(c)
	return c
}

// details asks a node for what it tells only its maintainers.
func (d *desk) details(c *cobra.Command, s *channel, name string) (*manage.Status, error) {
	var b bytes.Buffer
	if err := d.order(c.Context(), s, name, manage.CommandStatus, &b); err != nil {
		return nil, err
	}
	var v manage.Status
	if err := json.Unmarshal(b.Bytes(), &v); err != nil {
		return nil, fmt.Errorf("%s: answers no status: %w", name, err)
	}
	return &v, nil
}
