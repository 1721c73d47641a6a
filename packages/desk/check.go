package desk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// nodeReport is what check says of one node.
type nodeReport struct {
	Name     string   `json:"name"`
	Hardware string   `json:"hardware,omitempty"`
	Projects []string `json:"projects,omitempty"`
	Error    string   `json:"error,omitempty"`
}

func checkCommand() *cobra.Command {
	var fleet string
	var asJSON bool
	c := &cobra.Command{
		Use:     "check [NODE...]",
		Short:   "check the files of a fleet, or of the nodes named",
		Example: "  mirrorctl check --fleet images/demo\n  mirrorctl check --fleet images/demo demo",
		RunE: func(c *cobra.Command, nodes []string) error {
			reports, err := check(Fleet(fleet), nodes)
			if err != nil {
				return err
			}
			return printReports(c.OutOrStdout(), reports, asJSON)
		},
	}
	fleetFlag(c, &fleet)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func check(f Fleet, nodes []string) ([]nodeReport, error) {
	if len(nodes) == 0 {
		var err error
		if nodes, err = f.Nodes(); err != nil {
			return nil, err
		}
		if len(nodes) == 0 {
			return nil, fmt.Errorf("%s: no nodes: add nodes/<name>.json", string(f))
		}
	}
	var reports []nodeReport
	all := f.configs()
	for _, name := range nodes {
		r := nodeReport{Name: name}
		if cfg, err := f.Read(name); err != nil {
			r.Error = err.Error()
		} else if err := clashes(cfg, all); err != nil {
			r.Error = err.Error()
		} else {
			r.Hardware, r.Projects = cfg.Node.Hardware, cfg.Node.Projects
		}
		reports = append(reports, r)
	}
	return reports, nil
}

// errMistakes makes the exit code 1; the mistakes were printed already.
var errMistakes = errors.New("there are mistakes, see above")

func printReports(w io.Writer, reports []nodeReport, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(reports); err != nil {
			return err
		}
	}
	bad := false
	for _, r := range reports {
		bad = bad || r.Error != ""
		switch {
		case asJSON:
		case r.Error != "":
			fmt.Fprintln(w, r.Error)
		default:
			fmt.Fprintf(w, "%s: good (%s, %d projects)\n", r.Name, r.Hardware, len(r.Projects))
		}
	}
	if bad {
		return errMistakes
	}
	return nil
}
