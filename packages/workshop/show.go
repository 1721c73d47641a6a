package workshop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"micromirror/packages/factory"
	"micromirror/packages/hardware"
	"micromirror/packages/kernel"
)

func manifestCommand(o *factory.Options) *cobra.Command {
	return &cobra.Command{
		Use: "manifest", Short: "print what the release is made of", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			data, err := os.ReadFile(filepath.Join(o.Out(), factory.ManifestFile))
			if err != nil {
				return fmt.Errorf("%w (build a release first: make image)", err)
			}
			_, err = c.OutOrStdout().Write(data)
			return err
		},
	}
}

// hardwareCommand shows which driver of the kernel that was filled in claims each
// device of each model, and which modules nobody asked for.
func hardwareCommand(o *factory.Options) *cobra.Command {
	return &cobra.Command{
		Use: "check-hardware", Short: "hold hardware/ against the modules that ship", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			models, err := hardware.Load(os.DirFS(filepath.Join(o.Repository, "hardware")))
			if err != nil {
				return err
			}
			k, err := kernel.Open(filepath.Join(o.Repository, "packages", "kernel"))
			if err != nil {
				return fmt.Errorf("%w (build a release first: make image)", err)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			problems := 0
			fmt.Fprintln(w, "MODEL\tDEVICE\tNAME\tCLAIMED BY\tPROBLEM")
			for _, f := range hardware.Check(models, k.Modules, nil) {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Model, f.Device.ID, f.Device.Name, strings.Join(f.Claims, " "), f.Problem)
				if f.Problem != "" {
					problems++
				}
			}
			for _, m := range hardware.Unneeded(hardware.Needs(models), k.Modules) {
				fmt.Fprintf(w, "-\t-\tmodule %s\t-\tships although nobody needs it\n", m)
				problems++
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if problems > 0 {
				return fmt.Errorf("%d problems in hardware/", problems)
			}
			return nil
		},
	}
}
