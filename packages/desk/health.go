package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"micromirror/packages/health"
	"micromirror/packages/rollout"
)

const (
	healthLimit = 10 * time.Second // for one node
	healthSize  = 1 << 20
	askAtOnce   = 16
)

// nodeState is what a node says of itself, seen from a roll-out.
type nodeState struct {
	Name     string `json:"name"`
	Included bool   `json:"included"` // in the waves that are open
	Canary   bool   `json:"canary,omitempty"`
	Version  string `json:"version,omitempty"`
	Healthy  bool   `json:"healthy"`
	Seconds  int64  `json:"healthy_seconds"`   // without a break
	Problem  string `json:"problem,omitempty"` // why it is not in good health with the release
	// Warnings are checks of the world outside that did not pass, by name: a
	// node stays as it is because of them, but perhaps the release is to blame.
	Warnings map[string]string `json:"warnings,omitempty"`
}

// ask asks nodes for their health, many at a time.
func (d *desk) ask(ctx context.Context, s *rolloutSite, r *rollout.Rollout, names []string) ([]nodeState, error) {
	hosts, err := s.hosts(names)
	if err != nil {
		return nil, err
	}
	out := make([]nodeState, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(askAtOnce)
	for i, name := range names {
		g.Go(func() error {
			out[i] = d.state(ctx, hosts[i], r.Version)
			out[i].Name, out[i].Included, out[i].Canary = name, r.Includes(name), slices.Contains(r.Canaries, name)
			return nil
		})
	}
	return out, g.Wait()
}

// hosts says where each node answers: by its name, or where --address says.
func (s *rolloutSite) hosts(names []string) ([]string, error) {
	given := map[string]string{}
	for _, a := range s.addresses {
		name, host, ok := strings.Cut(a, "=")
		if !ok || name == "" || host == "" {
			return nil, fmt.Errorf("--address: %q is not NODE=HOST:PORT", a)
		}
		given[name] = host
	}
	out := make([]string, len(names))
	for i, name := range names {
		if host, ok := given[name]; ok {
			out[i] = host
			continue
		}
		cfg, err := Fleet(s.fleet).Read(name)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		out[i] = cfg.Hostname()
	}
	return out, nil
}

// state is the health of one node; whatever is wrong is its problem.
func (d *desk) state(ctx context.Context, host, version string) nodeState {
	report, err := d.fetchHealth(ctx, "http://"+host+"/healthz")
	if err != nil {
		return nodeState{Problem: err.Error()}
	}
	n := nodeState{Version: report.Version, Healthy: report.Healthy, Seconds: report.HealthySeconds}
	for _, c := range report.Checks {
		if c.External && c.Status == health.Warn {
			if n.Warnings == nil {
				n.Warnings = map[string]string{}
			}
			n.Warnings[c.Name] = c.Reason
		}
	}
	switch {
	case report.Reason != "":
		n.Problem = report.Reason
	case n.Version != version:
		n.Problem = fmt.Sprintf("runs %q, not %q", n.Version, version)
	case !n.Healthy:
		n.Problem = "unhealthy: " + report.Why()
	}
	return n
}

// healthyFor is by the node's own clock, and begins anew with a failure and with
// a restart.
func (n nodeState) healthyFor() time.Duration { return time.Duration(n.Seconds) * time.Second }

// warned is what the node warns of, for people.
func (n nodeState) warned() string {
	var out []string
	for _, check := range slices.Sorted(maps.Keys(n.Warnings)) {
		out = append(out, check+": "+n.Warnings[check])
	}
	return strings.Join(out, ", ")
}

// healthAnswer is a health report, or the reason why there is none.
type healthAnswer struct {
	health.Report
	Reason string `json:"reason"`
}

func (d *desk) fetchHealth(ctx context.Context, url string) (*healthAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("does not answer: %w", err)
	}
	defer resp.Body.Close()
	// An unhealthy node answers 503 with the report, too.
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return nil, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, healthSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if len(body) > healthSize {
		return nil, fmt.Errorf("%s answers more than %d bytes", url, healthSize)
	}
	var a healthAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("%s answers no health report: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		a.Healthy = false
	}
	return &a, nil
}
