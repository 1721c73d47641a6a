package desk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/register"
)

func (d *desk) registerCommand() *cobra.Command {
	var s site
	var only []string
	c := &cobra.Command{
		Use:   "register NODE",
		Short: "write what to send to each project's mirror list",
		Long: `Write, for each project of a node, what its mirror list wants: a file, the fields
of a form, or a letter, and to whom. All facts come from the node's and the
fleet's files. Nothing is sent.`,
		Example: "  mirrorctl register albuquerque --fleet fleet --project almalinux",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := Fleet(s.fleet).Read(args[0])
			if err != nil {
				return err
			}
			for _, name := range only {
				if !slices.Contains(cfg.Node.Projects, name) {
					return fmt.Errorf("--project: %s does not host %q, but %s", args[0], name, strings.Join(cfg.Node.Projects, ", "))
				}
			}
			texts, err := register.Texts(cfg)
			if err != nil {
				return fmt.Errorf("%s: %w", Fleet(s.fleet).NodeFile(args[0]), err)
			}
			texts = slices.DeleteFunc(texts, func(t register.Text) bool { return only != nil && !slices.Contains(only, t.Project) })
			return s.answer(c, texts, registerText(texts))
		},
	}
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	c.Flags().StringSliceVar(&only, "project", nil, "only this project; can be repeated")
	return c
}

func registerText(texts []register.Text) string {
	var b strings.Builder
	for _, t := range texts {
		fmt.Fprintf(&b, "==== %s: send to %s\n", t.Project, t.To)
		if t.File != "" {
			fmt.Fprintf(&b, "==== as the file %s\n", t.File)
		}
		for _, m := range t.Mind {
			fmt.Fprintf(&b, "==== mind: %s\n", m)
		}
		fmt.Fprintf(&b, "\n%s\n", t.Text)
	}
	return b.String()
}
