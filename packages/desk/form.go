package desk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// question is something that a flag tells, or else the maintainer when asked.
type question struct {
	flag, prompt, example string
	optional              bool
	value                 *string
}

// errNoTerminal says that nobody can be asked.
var errNoTerminal = errors.New("no terminal to ask")

// fill asks for what no flag has told. Without a terminal it names the flags.
func (d *desk) fill(c *cobra.Command, questions []question) error {
	var missing []string
	for _, q := range questions {
		if *q.value != "" || c.Flags().Changed(q.flag) {
			continue
		}
		err := d.put(q)
		if errors.Is(err, errNoTerminal) {
			if !q.optional {
				missing = append(missing, fmt.Sprintf("--%s (%s, such as %s)", q.flag, q.prompt, q.example))
			}
			continue
		}
		if err != nil {
			return err
		}
	}
	if missing != nil {
		return fmt.Errorf("%w; give %s", errNoTerminal, strings.Join(missing, ", "))
	}
	return nil
}

// put asks until there is an answer, or once for what may be empty.
func (d *desk) put(q question) error {
	prompt := fmt.Sprintf("%s (such as %s): ", q.prompt, q.example)
	if q.optional {
		prompt = fmt.Sprintf("%s (such as %s; empty for none): ", q.prompt, q.example)
	}
	for {
		answer, err := d.line(prompt)
		if err != nil {
			return err
		}
		if *q.value = strings.TrimSpace(answer); *q.value != "" || q.optional {
			return nil
		}
	}
}

// readLine returns what asks on a terminal.
func readLine() func(prompt string) (string, error) {
	in := bufio.NewReader(os.Stdin)
	return func(prompt string) (string, error) {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return "", errNoTerminal
		}
		fmt.Fprint(os.Stderr, prompt)
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return "", errors.New("the input ended; nothing was written")
		}
		return line, err
	}
}

// words splits a list in a flag or an answer: at commas and blanks.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}
