package desk

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"micromirror/packages/health"
)

// wearText is how much of its writes the node's disk has used up.
func wearText(r *health.Report) string {
	if r == nil {
		return "-"
	}
	i := slices.IndexFunc(r.Checks, func(o health.Outcome) bool { return o.Name == "wear" })
	if i < 0 {
		return "-"
	}
	if m := regexp.MustCompile(`(\d{1,3}) % (?:worn|of its writes)`).FindStringSubmatch(r.Checks[i].Reason); m != nil {
		return m[1] + " %"
	}
	if o := r.Checks[i]; o.Status != health.OK && o.Reason != "" {
		return oneWord(o.Reason)
	}
	return "-"
}

// addDetails asks each node that answered for what it tells maintainers.
func (d *desk) addDetails(c *cobra.Command, s *overview, nodes []nodeStatus) {
	for i := range nodes {
		ch := channel{site: s.site, identity: s.identity}
		v, err := d.details(c, &ch, nodes[i].Name)
		if err != nil {
			nodes[i].Error = err.Error()
			continue
		}
		nodes[i].Details = v
	}
}

// detailsText is a paragraph for each node with details: what is not well, and
// facts that help to say why.
func detailsText(nodes []nodeStatus) string {
	var b strings.Builder
	for _, n := range nodes {
		if n.Details == nil {
			continue
		}
		fmt.Fprintf(&b, "\n%s: up for %s", n.Name, brief(time.Duration(n.Details.UptimeSeconds)*time.Second))
		if n.Details.Drained != "" {
			b.WriteString(", drained: " + oneWord(n.Details.Drained))
		}
		b.WriteString("\n")
		for _, o := range checksOf(n) {
			fmt.Fprintf(&b, "  %-5s %s: %s\n", oneWord(string(o.Status)), oneWord(o.Name), oneWord(o.Reason))
		}
	}
	return b.String()
}

// checksOf are the checks that have something to say.
func checksOf(n nodeStatus) []health.Outcome {
	if n.Health == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.Health.Checks), func(o health.Outcome) bool { return o.Reason == "" })
}
