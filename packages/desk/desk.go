// Package desk is the maintainers' command line, mirrorctl.
//
// Promise: every mistake in a node or fleet file is reported at once, with file,
// line, field, value and remedy, before anything is written or published. A disk
// image that was not finished is not left behind. With --json a command prints
// one JSON document on standard output instead of text; progress and errors go
// to standard error, and the exit code is 1 for any error.
//
// A disk is written only after its model, serial number and size were shown and
// the node's name was typed, never the one that this computer runs from, and all
// of it is read back. What a node says of itself cannot write to the terminal.
//
// What is published is package repository's; the desk decides what may be: no
// secret leaves in the clear, and a wave opens only when every canary itself says
// that it has run the release in good health for long enough.
//
// Files read: <fleet>/fleet.json, <fleet>/nodes/<name>.json,
// <fleet>/secrets/<name>.json, a release folder, hardware/*.json where they are at
// hand. Files written: what --out and --disk name, <fleet>/fleet.json,
// <fleet>/.gitignore, <fleet>/nodes/<name>.json, <fleet>/nodes/<name>.pub,
// <fleet>/known_hosts, <fleet>/root.json, <fleet>/keys, <fleet>/repository. Nodes
// are asked over HTTP, and told over SSH (package manage): only a node that shows
// the host key which the desk gave it when it wrote its disk.
package desk

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"micromirror/packages/factory"
	"micromirror/packages/flash"
	"micromirror/packages/node"
)

// desk is what the commands need from the world outside.
type desk struct {
	now      func() time.Time
	client   *http.Client
	getenv   func(string) string
	terminal func(prompt string) (string, error) // reads without echo
	line     func(prompt string) (string, error) // errNoTerminal when nobody can be asked
	work     int                                 // repository.Keys.WorkFactor
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	machine  flash.Machine
	build    func(ctx context.Context, source string, log io.Writer) (folder string, err error)
}

// Command returns the command line.
func Command() *cobra.Command {
	d := &desk{
		now:      time.Now,
		client:   &http.Client{Timeout: healthLimit},
		getenv:   os.Getenv,
		terminal: readPassword,
		line:     readLine(),
		dial:     new(net.Dialer).DialContext,
		machine:  flash.Machine{Sys: "/sys", Proc: "/proc"},
		build: func(ctx context.Context, source string, log io.Writer) (string, error) {
			return factory.Build(ctx, factory.Options{Repository: source, Log: log})
		},
	}
	return d.command()
}

func (d *desk) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "mirrorctl",
		Short:         "look after a fleet of Micro Mirror nodes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(d.initCommand(), d.nodeCommand(), checkCommand(), imageCommand(), d.flashCommand(), d.cardCommand(), d.stickCommand(), d.rescueCommand(), d.overviewCommand(), d.watchCommand(), d.registerCommand(), d.planCommand(),
		d.keysCommand(), d.releaseCommand(), d.configCommand(), d.renewCommand(), d.rolloutCommand(), d.rollbackCommand())
	root.AddCommand(d.orderCommands()...)
	root.AddCommand(topics()...)
	for _, c := range root.Commands() {
		completeNodes(c)
		showUse(c)
	}
	return root
}

// showUse lets what a command says of too few or too many words end in how to
// write it.
func showUse(c *cobra.Command) {
	for _, sub := range c.Commands() {
		showUse(sub)
	}
	if wanted := c.Args; wanted != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := wanted(c, args); err != nil {
				return fmt.Errorf("%w; write: %s", err, c.UseLine())
			}
			return nil
		}
	}
}

// completeNodes lets the shell complete the names of the fleet's nodes.
func completeNodes(c *cobra.Command) {
	for _, sub := range c.Commands() {
		completeNodes(sub)
	}
	names := func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		fleet := c.Flags().Lookup("fleet")
		if fleet == nil {
			return nil, cobra.ShellCompDirectiveDefault
		}
		names, err := Fleet(fleet.Value.String()).Nodes()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	if strings.Contains(c.Use, " NODE") || strings.Contains(c.Use, "[NODE") {
		c.ValidArgsFunction = names
	}
	if c.Flags().Lookup("node") != nil {
		if err := c.RegisterFlagCompletionFunc("node", names); err != nil {
			panic(err) // only for a flag that does not exist
		}
	}
}

// Fleet is a folder that describes nodes: fleet.json and nodes/<name>.json.
type Fleet string

// File is the fleet file.
func (f Fleet) File() string { return filepath.Join(string(f), node.FleetFile) }

// NodeFile is the file of one node.
func (f Fleet) NodeFile(name string) string { return filepath.Join(string(f), "nodes", name+".json") }

// SecretFile holds what only one node may know, in the form of the fleet file,
// over which the node lays it. There need not be one.
func (f Fleet) SecretFile(name string) string {
	return filepath.Join(string(f), "secrets", name+".json")
}

// PublicKeyFile holds the key to which a node's secrets are encrypted.
func (f Fleet) PublicKeyFile(name string) string {
	return filepath.Join(string(f), "nodes", name+".pub")
}

// Nodes lists the fleet's nodes by name.
func (f Fleet) Nodes() ([]string, error) {
	dir := filepath.Join(string(f), "nodes")
	ents, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w (a fleet folder holds fleet.json and nodes/<name>.json)", err)
	}
	var names []string
	for _, e := range ents {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && e.Type() != fs.ModeDir {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Read checks one node's files.
func (f Fleet) Read(name string) (*node.Config, error) {
	c, err := node.ReadDesk(f.File(), f.NodeFile(name), f.SecretFile(name))
	if err != nil {
		return nil, err
	}
	if c.Node.Name != name {
		return nil, fmt.Errorf("%s: name: is %q; the file's own name says %q: make them equal", f.NodeFile(name), c.Node.Name, name)
	}
	return c, nil
}

func fleetFlag(c *cobra.Command, f *string) {
	c.Flags().StringVar(f, "fleet", ".", "folder with fleet.json and nodes/")
}
