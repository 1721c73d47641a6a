package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"micromirror/packages/health"
	"micromirror/packages/httpd/status"
	"micromirror/packages/manage"
)

// nodeStatus is a line of the overview.
type nodeStatus struct {
	Name     string         `json:"name"`
	Health   *health.Report `json:"health,omitempty"`
	Projects *status.Report `json:"status,omitempty"`
	Error    string         `json:"error,omitempty"`
	// Details is what the node tells only its maintainers.
	Details *manage.Status `json:"details,omitempty"`
}

// overview says where the nodes answer.
type overview struct {
	rolloutSite
	every    time.Duration
	details  bool
	identity string
}

func (d *desk) overviewCommand() *cobra.Command {
	var s overview
	c := &cobra.Command{
		Use:   "status [NODE...]",
		Short: "show all nodes in one table: release, health, projects, traffic, disk, certificate",
		Long: `Ask every node, or those named, for its health and its projects, many at a time,
and show one line of each. It uses what the nodes tell everybody: /healthz and
/status.json; with --details also what they tell only maintainers, by the
management channel. The exit code is 1 if a node does not answer or is unhealthy.`,
		Example: "  mirrorctl status --fleet fleet\n  mirrorctl status albuquerque --details --fleet fleet",
		RunE: func(c *cobra.Command, names []string) error {
			nodes, err := d.overview(c.Context(), &s, names)
			if err != nil {
				return err
			}
			if s.details {
				d.addDetails(c, &s, nodes)
			}
			if err := s.answer(c, nodes, overviewText(nodes, d.now())+detailsText(nodes)); err != nil {
				return err
			}
			return worst(nodes)
		},
	}
	s.flags(c)
	c.Flags().BoolVar(&s.details, "details", false, "ask also by the management channel")
	c.Flags().StringVar(&s.identity, "identity", "", "file of your private key, for --details")
	return c
}

func (d *desk) watchCommand() *cobra.Command {
	var s overview
	c := &cobra.Command{
		Use:     "watch [NODE...]",
		Short:   "show the table of status again and again",
		Long:    "Show the table of \"mirrorctl status\" again and again, until it is interrupted. With --json each is one line.",
		Example: "  mirrorctl watch --fleet fleet --every 30s",
		RunE: func(c *cobra.Command, names []string) error {
			if s.every < time.Second {
				return fmt.Errorf("--every: %v is too often; use at least 1s", s.every)
			}
			return d.watch(c, &s, names)
		},
	}
	s.flags(c)
	c.Flags().DurationVar(&s.every, "every", 30*time.Second, "time between two looks")
	return c
}

// home puts a terminal's cursor to the top left and clears what is below.
const home = "\x1b[H\x1b[J"

func (d *desk) watch(c *cobra.Command, s *overview, names []string) error {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		nodes, err := d.overview(c.Context(), s, names)
		switch {
		case c.Context().Err() != nil:
			return nil // it was interrupted
		case err != nil:
			return err
		case s.json:
			err = json.NewEncoder(c.OutOrStdout()).Encode(nodes)
		default:
			now := d.now()
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s%s\n\n%s", home, now.Format(time.DateTime), overviewText(nodes, now))
		}
		if err != nil {
			return err
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// overview asks the nodes.
func (d *desk) overview(ctx context.Context, s *overview, names []string) ([]nodeStatus, error) {
	if len(names) == 0 {
		var err error
		if names, err = Fleet(s.fleet).Nodes(); err != nil {
			return nil, err
		}
	}
	hosts, err := s.hosts(names)
	if err != nil {
		return nil, err
	}
	out := make([]nodeStatus, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askAtOnce)
	for i, name := range names {
		g.Go(func() error {
			out[i] = d.look(ctx, hosts[i])
			out[i].Name = name
			return nil
		})
	}
	return out, g.Wait()
}

// look asks one node.
func (d *desk) look(ctx context.Context, host string) nodeStatus {
	var n nodeStatus
	a, err := d.fetchHealth(ctx, "http://"+host+"/healthz")
	if err != nil {
		n.Error = err.Error()
		return n
	}
	n.Health = &a.Report
	if a.Reason != "" {
		n.Error = a.Reason
	}
	if n.Projects, err = d.fetchStatus(ctx, "http://"+host+"/status.json"); err != nil {
		n.Error = err.Error()
	}
	return n
}

func (d *desk) fetchStatus(ctx context.Context, url string) (*status.Report, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("does not answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	var r status.Report
	if err := json.NewDecoder(io.LimitReader(resp.Body, healthSize)).Decode(&r); err != nil {
		return nil, fmt.Errorf("%s answers no status: %w", url, err)
	}
	return &r, nil
}

// worst makes the exit code.
func worst(nodes []nodeStatus) error {
	var bad []string
	for _, n := range nodes {
		if n.Error != "" || !n.Health.Healthy {
			bad = append(bad, n.Name)
		}
	}
	if bad != nil {
		return errors.New("not well: " + strings.Join(bad, ", "))
	}
	return nil
}

func overviewText(nodes []nodeStatus, now time.Time) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tRELEASE\tSLOT\tFRESH\tSERVED A DAY\tDISK USED UP\tCERTIFICATE\tHEALTH")
	for _, n := range nodes {
		release, slot := "-", "-"
		if n.Health != nil {
			release, slot = oneWord(n.Health.Version), oneWord(n.Health.Slot)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, release, slot, freshText(n.Projects), servedText(n.Projects), wearText(n.Health), certificateText(n.Projects, now), healthText(n))
	}
	w.Flush()
	return b.String()
}

// oneWord makes safe for a terminal what a node said.
func oneWord(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s
}

func freshText(r *status.Report) string {
	if r == nil {
		return "-"
	}
	fresh, stale := 0, []string{}
	for _, p := range r.Projects {
		if p.Freshness == "fresh" && p.Serving {
			fresh++
		} else {
			stale = append(stale, oneWord(p.Name))
		}
	}
	text := fmt.Sprintf("%d of %d", fresh, len(r.Projects))
	if len(stale) > 0 {
		text += ", not " + strings.Join(stale[:min(3, len(stale))], " ")
	}
	return text
}

func servedText(r *status.Report) string {
	if r == nil {
		return "-"
	}
	var sum int64
	for _, p := range r.Projects {
		sum += p.ServedDay
	}
	return bytesText(sum)
}

func certificateText(r *status.Report, now time.Time) string {
	switch {
	case r == nil:
		return "-"
	case r.Certificate.NotAfter.IsZero():
		return oneWord(r.Certificate.State)
	}
	return fmt.Sprintf("%d days", int(r.Certificate.NotAfter.Sub(now).Hours()/24))
}

func healthText(n nodeStatus) string {
	switch {
	case n.Error != "":
		return oneWord(n.Error)
	case !n.Health.Healthy:
		return "unhealthy: " + oneWord(n.Health.Why())
	}
	return "healthy for " + brief(time.Duration(n.Health.HealthySeconds)*time.Second)
}
