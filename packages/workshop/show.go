package workshop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

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
			source, err := kernel.SourceTree(o.KernelDir())
			if err != nil {
				return err
			}
			firmware, err := o.ShippedFirmware()
			if err != nil {
				return err
			}
			return hardware.Report(c.OutOrStdout(), models, k.Modules, source.Builtin,
				func(file string) bool { return slices.Contains(firmware, file) })
		},
	}
}
