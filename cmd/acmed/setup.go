package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
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
	// Granting a directory needs it to be there, whoever starts first.
	for _, dir := range f.reports() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return sandbox.Own(f.dir, layout.AcmeD, layout.HTTPD, 0o750|fs.ModeSetgid)
}

// reports are the directories with what other daemons say.
func (f *flags) reports() (dirs []string) {
	for _, file := range []string{f.clock, f.netd} {
		if file != "" {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
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
// before the node has an address would be one of a few a day, and so would one in
// a network that is not the node's own, such as the maintainer's desk, where the
// authority reaches somebody else or nobody.
func (f *flags) network() error {
	if f.netd == "" {
		return nil
	}
	for _, check := range []func(context.Context) error{health.Address(f.netd), health.Gateway(f.netd)} {
		if err := check(context.Background()); err != nil && !health.IsWarning(err) {
			return err
		}
	}
	var s struct {
		Mode string `json:"mode"`
	}
	b, err := os.ReadFile(f.netd)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.Mode == "rescue" {
		err = errors.New("the node is not in its own network")
	}
	return err
}
