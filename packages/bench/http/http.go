// Package http measures the file server against nginx on the same tree.
//
// Both serve over loopback with their access logs on; nginx is tuned as well as
// we know how (sendfile, tcp_nopush, open_file_cache, buffered log, two
// workers). The cost of a kind of work is the CPU time that the server's
// processes used for it, as the scheduler counts it, so the client on the same
// machine disturbs little. Each round runs both, in turns.
//
// Config.Secure measures the same over TLS, with what is particular to it:
// handshakes, full and resumed.
//
// It needs nginx and wrk, and writes below its scratch directory only. It ends
// only the two servers that it started.
package http

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"micromirror/packages/bench"
)

// Config says what to run.
type Config struct {
	Server  string // path of our server program
	Scratch string // an empty directory with room for 1 GiB
	Rounds  int
	Seconds int // one run
	Only    string
	Secure  bool // over TLS
	Out     io.Writer
}

// Run measures everything and returns the rows. What was measured by an earlier
// run that was interrupted is not measured again.
func Run(ctx context.Context, c Config) ([]bench.Row, error) {
	tree := filepath.Join(c.Scratch, "tree")
	fmt.Fprintln(c.Out, "making the tree")
	if err := makeTree(tree); err != nil {
		return nil, err
	}
	if c.Secure {
		if err := bench.Certify(filepath.Join(c.Scratch, "acme")); err != nil {
			return nil, err
		}
	}
	p, err := resume(&c)
	if err != nil {
		return nil, err
	}
	ours, err := c.startOurs(ctx, tree)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	peer, err := c.startNginx(ctx, tree)
	if err != nil {
		return nil, err
	}
	defer peer.stop()
	var rows []bench.Row
	for _, w := range c.works() {
		row, err := c.measure(p, w.name, func() (bench.Row, error) {
			a, b, err := bench.Compare(c.Rounds, w.on(ctx, &c, ours), w.on(ctx, &c, peer))
			row := bench.NewRow(w.name, w.unit(), a.Cost, b.Cost, w.aim)
			row.RateUnit, row.OursRate, row.PeerRate = w.rateUnit(), a.Rate, b.Rate
			return row, err
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row...)
	}
	more, err := crowds(ctx, &c, p, tree)
	if err != nil {
		return nil, err
	}
	return append(rows, more...), p.Done()
}

func (c *Config) works() []work {
	if c.Secure {
		return secureWorks()
	}
	return works()
}

// measure takes a row from the progress or makes it; none if it is not wanted.
func (c *Config) measure(p *progress, name string, run func() (bench.Row, error)) ([]bench.Row, error) {
	if c.Only != "" && c.Only != name {
		return nil, nil
	}
	row := find(p, name)
	if row == nil {
		made, err := run()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := p.Add(made); err != nil {
			return nil, err
		}
		row = &made
	}
	fmt.Fprintf(c.Out, "%-28s %-24s ours %8.3g  nginx %8.3g  ratio %.2f\n", name, row.Unit, row.Ours, row.Peer, row.Ratio)
	return []bench.Row{*row}, nil
}

// crowds measures memory.
func crowds(ctx context.Context, c *Config, p *progress, tree string) ([]bench.Row, error) {
	var rows []bench.Row
	kinds := []struct{ name, target string }{{"10,000 idle clients", "/4k.bin"}, {"10,000 slow clients", "/256m.bin"}}
	if c.Secure {
		kinds = append(kinds, struct{ name, target string }{"10,000 stuck in the handshake", stuck})
	}
	for _, crowd := range kinds {
		row, err := c.measure(p, crowd.name, func() (bench.Row, error) {
			ours := memory(ctx, func() (*server, error) { return c.startOurs(ctx, tree) }, crowd.target)
			peer := memory(ctx, func() (*server, error) { return c.startNginx(ctx, tree) }, crowd.target)
			a, b, err := bench.Compare(1, ours, peer)
			return bench.NewRow(crowd.name, "MB", a.Cost, b.Cost, memoryAim), err
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, row...)
	}
	return rows, nil
}
