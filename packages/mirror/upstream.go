package mirror

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/mirror/trace"
	"micromirror/packages/project"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
)

// RsyncDialer returns the Dial of a project whose upstream is an rsync daemon.
// shared bounds all transfers of the node together and may be nil.
func RsyncDialer(p project.Project, shared *rate.Limiter, timeout time.Duration, log *slog.Logger) func(context.Context) (Upstream, error) {
	return func(ctx context.Context) (Upstream, error) {
		rules, err := Filter(&p)
		if err != nil {
			return nil, err
		}
		cfg := client.Config{
			Addr: p.Upstream.Host, Module: p.Upstream.Module, User: p.Upstream.User, Password: p.Upstream.Password,
			Timeout: cmp.Or(timeout, defaultTimeout), Rate: int64(p.Rate), Limiter: shared, Log: log,
		}
		conn, err := client.Dial(ctx, cfg)
		if err != nil {
			return nil, explain(ctx, err, cfg, p.Name)
		}
		return &rsyncUpstream{Conn: conn, options: client.ListOptions{Path: p.Upstream.Path, Filter: rules}}, nil
	}
}

// Filter is what a project's tree holds of upstream's.
func Filter(p *project.Project) (*filter.List, error) {
	return filter.Parse(append(never(p), p.Filter...)...)
}

// SampleDialer is RsyncDialer for Check: rules replace the project's filter.
func SampleDialer(p project.Project, shared *rate.Limiter, timeout time.Duration, log *slog.Logger) func(context.Context, []string) (Upstream, error) {
	return func(ctx context.Context, rules []string) (Upstream, error) {
		p.Filter = rules
		return RsyncDialer(p, shared, timeout, log)(ctx)
	}
}

// never is what no mirror takes over: unfinished transfers, and the marks by
// which an upstream of Debian's kind says that it is working itself.
func never(p *project.Project) []string {
	rules := []string{"- .~tmp~/"}
	if p.Trace.Format == "debian" {
		rules = append(rules, "- /"+trace.InProgress+"*")
	}
	return rules
}

// defaultTimeout is the recipes' --timeout.
const defaultTimeout = 10 * time.Minute

type rsyncUpstream struct {
	*client.Conn
	options client.ListOptions
}

func (u *rsyncUpstream) List(ctx context.Context) (*flist.List, error) {
	return u.Conn.List(ctx, u.options)
}
