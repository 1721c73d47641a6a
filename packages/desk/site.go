package desk

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"micromirror/packages/repository"
)

// site is what the commands that publish have in common: the fleet, where its
// repository and keys are, and how to answer.
type site struct {
	fleet      string
	repository string
	keys       []string
	passphrase bool
	json       bool
}

// flags adds the flags; a command that makes keys has one more.
func (s *site) flags(c *cobra.Command, makesKeys bool) {
	fleetFlag(c, &s.fleet)
	c.Flags().StringVar(&s.repository, "repository", "", "folder of the update repository (default FLEET/repository)")
	c.Flags().StringArrayVar(&s.keys, "keys", nil, "further folder with keys, such as a USB stick; can be repeated")
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	if makesKeys {
		c.Flags().BoolVar(&s.passphrase, "passphrase", false, "ask for a passphrase for new root and targets keys (or set MM_PASSPHRASE)")
	}
}

func (d *desk) repository(s *site) *repository.Repository {
	r := repository.At(s.fleet)
	if s.repository != "" {
		r.Dir = s.repository
	}
	r.Now = d.now
	r.Keys.Dirs = append(r.Keys.Dirs, s.keys...)
	r.Keys.Encrypt = s.passphrase || d.getenv(passphraseVariable) != ""
	r.Keys.Passphrase, r.Keys.WorkFactor = d.passphrases(), d.work
	return r
}

// answer prints the result of a command.
func (s *site) answer(c *cobra.Command, value any, text string) error {
	w := c.OutOrStdout()
	if s.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	_, err := fmt.Fprint(w, text)
	return err
}

const passphraseVariable = "MM_PASSPHRASE"

// passphrases asks for the passphrase of each key file once, and for that of new
// keys twice; the environment spares the questions.
func (d *desk) passphrases() func(file string) (string, error) {
	known := map[string]string{}
	return func(file string) (string, error) {
		if p := d.getenv(passphraseVariable); p != "" {
			return p, nil
		}
		_, err := os.Stat(file)
		isNew := err != nil
		if isNew {
			file = "new keys"
		}
		if p, ok := known[file]; ok {
			return p, nil
		}
		p, err := d.terminal("passphrase of " + filepath.Base(file) + ": ")
		if err != nil {
			return "", err
		}
		if isNew {
			again, err := d.terminal("once more: ")
			if err != nil {
				return "", err
			}
			if again != p {
				return "", errors.New("the two differ; nothing was written, run it again")
			}
		}
		known[file] = p
		return p, nil
	}
}

// readPassword reads a line from the terminal without showing it.
func readPassword(prompt string) (string, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", errors.New("no terminal to ask for the passphrase; set " + passphraseVariable)
	}
	fmt.Fprint(os.Stderr, prompt)
	p, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	return string(p), nil
}
