// Package desk is the maintainers' command line, mirrorctl.
//
// Promise: every mistake in a node or fleet file is reported at once, with file,
// line, field, value and remedy, before anything is written. A disk image that
// was not finished is not left behind. With --json a command prints one JSON
// document on standard output instead of text; progress and errors go to
// standard error, and the exit code is 1 for any error.
//
// Files read: <fleet>/fleet.json, <fleet>/nodes/<name>.json, a release folder.
// Files written: only what --out names.
package desk

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/node"
)

// Command returns the command line.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use:           "mirrorctl",
		Short:         "look after a fleet of Micro Mirror nodes",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(checkCommand(), imageCommand())
	return root
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
