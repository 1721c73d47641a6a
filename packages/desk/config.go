package desk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"micromirror/packages/repository"
)

func (d *desk) configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "publish the configuration of the fleet"}
	c.AddCommand(d.configPublishCommand())
	return c
}

type configAnswer struct {
	Changed bool         `json:"changed"`
	Nodes   []configNode `json:"nodes"`
}

type configNode struct {
	Name    string `json:"name"`
	Secrets bool   `json:"secrets"`
}

func (d *desk) configPublishCommand() *cobra.Command {
	var s site
	c := &cobra.Command{
		Use:   "publish",
		Short: "check, sign and publish fleet.json and all node files",
		Long: `Check every node of the fleet, then sign and publish fleet.json and the node
files. They are for everyone to read: a password in one of them is refused. What
only one node may know goes to FLEET/secrets/NODE.json, in the form of fleet.json,
and is published encrypted to the key that "mirrorctl image" gave the node; {} takes
secrets back, no file leaves them.

All nodes take it at their next look, within 80 minutes, without waves and window.
Their daemons start again, and so does the soak time of a roll-out.`,
		Example: "  mirrorctl config publish --fleet fleet",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			reports, err := check(Fleet(s.fleet), nil)
			if err != nil {
				return err
			}
			if err := printReports(c.ErrOrStderr(), reports, false); err != nil {
				return err
			}
			files, nodes, err := Fleet(s.fleet).published()
			if err != nil {
				return err
			}
			changed, err := d.repository(&s).SetConfig(c.Context(), files)
			if err != nil {
				return err
			}
			text := fmt.Sprintf("configuration of %d nodes: published\n", len(nodes))
			if !changed {
				text = fmt.Sprintf("configuration of %d nodes: was published already\n", len(nodes))
			}
			return s.answer(c, configAnswer{changed, nodes}, text)
		},
	}
	s.flags(c, false)
	return c
}

// published returns what the fleet publishes, by path in the repository.
func (f Fleet) published() (map[string][]byte, []configNode, error) {
	names, err := f.Nodes()
	if err != nil {
		return nil, nil, err
	}
	files := map[string][]byte{}
	var nodes []configNode
	problems := []error{public(files, repository.FleetTarget, f.File())}
	for _, name := range names {
		problems = append(problems, public(files, repository.NodeTarget(name), f.NodeFile(name)))
		sealed, err := f.sealed(name)
		problems = append(problems, err)
		if sealed != nil {
			files[repository.SecretTarget(name)] = sealed
		}
		nodes = append(nodes, configNode{name, sealed != nil})
	}
	return files, nodes, errors.Join(problems...)
}

// public adds a file that everyone may read.
func public(files map[string][]byte, target, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var content any
	if err := json.Unmarshal(data, &content); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	var problems []error
	for _, field := range secretFields(content, "") {
		problems = append(problems, fmt.Errorf("%s: %s: would be published for everyone to read; move it to secrets/NODE.json of the nodes that need it", file, field))
	}
	files[target] = data
	return errors.Join(problems...)
}

// secretFields names the fields that hold a secret by their name.
func secretFields(v any, path string) []string {
	var out []string
	switch t := v.(type) {
	case []any:
		for i, e := range t {
			out = append(out, secretFields(e, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		for key, e := range t {
			field := strings.TrimPrefix(path+"."+key, ".")
			if isSecret(key) && e != "" {
				out = append(out, field)
			}
			out = append(out, secretFields(e, field)...)
		}
	}
	slices.Sort(out)
	return out
}

func isSecret(key string) bool {
	return slices.ContainsFunc([]string{"password", "passphrase", "secret", "token", "private_key"},
		func(word string) bool { return strings.Contains(strings.ToLower(key), word) })
}

// sealed returns a node's secrets, encrypted to its key; nil when it has none.
func (f Fleet) sealed(name string) ([]byte, error) {
	secrets, err := os.ReadFile(f.SecretFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(f.PublicKeyFile(name))
	if err != nil {
		return nil, fmt.Errorf(`%s cannot be encrypted: %w; "mirrorctl image" makes the node's key`, f.SecretFile(name), err)
	}
	to, err := age.ParseX25519Recipient(strings.TrimSpace(string(key)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; restore it from a copy, or write the node's disk anew", f.PublicKeyFile(name), err)
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt %s: %w", f.SecretFile(name), err)
	}
	if _, err := w.Write(secrets); err != nil {
		return nil, fmt.Errorf("encrypt %s: %w", f.SecretFile(name), err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypt %s: %w", f.SecretFile(name), err)
	}
	return out.Bytes(), nil
}
