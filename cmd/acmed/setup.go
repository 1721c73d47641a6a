package main

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"

	"micromirror/packages/health"
	"micromirror/packages/layout"
	"micromirror/packages/sandbox"
)

// ports are those that an authority is asked by: names, the directory's, and the
// usual one, should the directory lead there.
func (*flags) ports(directory string) ([]uint16, error) {
	const dns, https = 53, 443
	out := []uint16{dns, https}
	u, err := url.Parse(directory)
	if err != nil {
		return nil, fmt.Errorf("acme.directory: %w", err)
	}
	if u.Port() == "" {
		return out, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("acme.directory: port: %w", err)
	}
	return append(out, uint16(port)), nil
}

// own gives the directories to the daemon, whatever is in them already too.
func (f *flags) own() error {
	if err := sandbox.Own(f.run, layout.AcmeD, layout.AcmeD, 0o755); err != nil {
		return err
	}
	return sandbox.Own(f.dir, layout.AcmeD, layout.HTTPD, 0o750|fs.ModeSetgid)
}

// time says why the clock cannot be trusted. A fleet without time servers has
// chosen to trust it.
func (f *flags) time(servers []string) func() error {
	return func() error {
		if f.clock == "" || len(servers) == 0 {
			return nil
		}
		return health.Clock(f.clock)(context.Background())
	}
}

// network says why the authority cannot be reached, by what netd knows. An attempt
// before the node has an address would be one of a few a day.
func (f *flags) network() error {
	if f.netd == "" {
		return nil
	}
	for _, check := range []func(context.Context) error{health.Address(f.netd), health.Gateway(f.netd)} {
		if err := check(context.Background()); err != nil && !health.IsWarning(err) {
			return err
		}
	}
	return nil
}
