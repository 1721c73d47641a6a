package desk

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"micromirror/packages/card"
	"micromirror/packages/durable"
	"micromirror/packages/hardware"
)

func (d *desk) cardCommand() *cobra.Command {
	var s site
	var out, models string
	var page card.Card
	c := &cobra.Command{
		Use:   "card NODE",
		Short: "make the page for the parcel: what the host does, what the box needs",
		Long: `Make the page that lies in the parcel: name, addresses, which port, what the box
needs from the network in a network engineer's words, expected traffic, whom to
write to. It is HTML that prints on one page from any browser.`,
		Example: "  mirrorctl card albuquerque --fleet fleet --mac 00:02:c9:00:00:01 --out albuquerque.html",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if page.Config, err = Fleet(s.fleet).Read(args[0]); err != nil {
				return err
			}
			if page.Model, err = modelOf(models, page.Config.Node.Hardware); err != nil {
				return err
			}
			var b bytes.Buffer
			if err := page.Write(&b); err != nil {
				return err
			}
			if out == "" {
				out = args[0] + ".html"
			}
			if err := durable.WriteFile(out, b.Bytes(), 0o644); err != nil {
				return err
			}
			return s.answer(c, map[string]string{"node": args[0], "out": out}, fmt.Sprintf("%s: print it from a browser, one page\n", out))
		},
	}
	fleetFlag(c, &s.fleet)
	c.Flags().BoolVar(&s.json, "json", false, "print JSON")
	c.Flags().StringVar(&out, "out", "", "file to write (default NODE.html)")
	c.Flags().StringVar(&page.MAC, "mac", "", "MAC address of the port to use")
	c.Flags().StringVar(&page.Traffic, "traffic", "", "what to expect, such as \"200 GB a day, at most 1 Gbit/s\"")
	c.Flags().StringVar(&models, "models", "hardware", "folder with the models' files; without it the page says less of the box")
	return c
}

// modelOf finds the facts of a model; nil if they are not at hand.
func modelOf(dir, name string) (*hardware.Model, error) {
	models, err := modelsIn(dir)
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		if m.Model == name {
			return &m, nil
		}
	}
	return nil, nil
}

// modelsIn reads the models' files; none if the folder is not there, as on a
// computer that has no source tree.
func modelsIn(dir string) ([]hardware.Model, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	models, err := hardware.Load(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("--models: %w", err)
	}
	return models, nil
}
