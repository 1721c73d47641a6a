package mirror

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/project"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
)

// RsyncDialer returns the Dial of a project whose upstream is an rsync daemon.
// shared bounds all transfers of the node together and may be nil.
func RsyncDialer(p project.Project, shared *rate.Limiter, timeout time.Duration, log *slog.Logger) func(context.Context) (Upstream, error) {
	return func(ctx context.Context) (Upstream, error) {
		rules, err := filter.Parse(append([]string{"- .~tmp~/"}, p.Filter...)...)
		if err != nil {
			return nil, err
		}
		conn, err := client.Dial(ctx, client.Config{
			Addr: p.Upstream.Host, Module: p.Upstream.Module, User: p.Upstream.User, Password: p.Upstream.Password,
			Timeout: cmp.Or(timeout, defaultTimeout), Rate: int64(p.Rate), Limiter: shared, Log: log,
		})
		if err != nil {
			return nil, err
		}
		return &rsyncUpstream{Conn: conn, options: client.ListOptions{Path: p.Upstream.Path, Filter: rules}}, nil
	}
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
