package workshop

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/factory"
	"micromirror/packages/figures"
)

func figuresCommand(o *factory.Options) *cobra.Command {
	var f figures.Options
	c := &cobra.Command{
		Use: "figures", Short: "measure sizes, memory, boot, update and build times", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.Repository, f.Log = o.Repository, o.Log
			r, err := figures.Measure(c.Context(), f)
			if err != nil {
				return err
			}
			return errors.Join(r.Print(c.OutOrStdout()), r.Err())
		},
	}
	c.Flags().IntVar(&f.Boots, "boots", 3, "boots beside the first, of which the median counts")
	c.Flags().BoolVar(&f.Cold, "cold", true, "also build without Go's cache, which takes minutes")
	c.Flags().StringSliceVar(&f.Only, "only", nil, "parts to measure: "+strings.Join(figures.Parts(), ", "))
	c.Flags().BoolVar(&f.Update, "update", true, "also update a node over the air, with a bad release and a downgrade")
	return c
}
