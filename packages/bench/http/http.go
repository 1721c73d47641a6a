// Package http measures the file server against nginx on the same tree.
//
// Both serve over loopback with their access logs on; nginx is tuned as well as
// we know how (sendfile, tcp_nopush, open_file_cache, buffered log, two
// workers). The cost of a kind of work is the CPU time that the server's
// processes used for it, as the scheduler counts it, so the client on the same
// machine disturbs little. Each round runs both, in turns.
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
	Out     io.Writer
}

// Run measures everything and returns the rows.
func Run(ctx context.Context, c Config) ([]bench.Row, error) {
	tree := filepath.Join(c.Scratch, "tree")
	fmt.Fprintln(c.Out, "making the tree")
	if err := makeTree(tree); err != nil {
		return nil, err
	}
	ours, err := startOurs(ctx, c.Server, c.Scratch, tree)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	peer, err := startNginx(ctx, c.Scratch, tree)
	if err != nil {
		return nil, err
	}
	defer peer.stop()
	var rows []bench.Row
	for _, w := range works() {
		if c.Only != "" && c.Only != w.name {
			continue
		}
		a, b, err := bench.Compare(c.Rounds, w.on(ctx, &c, ours), w.on(ctx, &c, peer))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		rows = append(rows, bench.NewRow(w.name, w.unit(), a, b, w.aim))
		fmt.Fprintf(c.Out, "%-28s %-24s ours %8.3g  nginx %8.3g  ratio %.2f\n", w.name, w.unit(), a, b, a/b)
	}
	more, err := crowds(ctx, &c, tree)
	return append(rows, more...), err
}

// crowds measures memory.
func crowds(ctx context.Context, c *Config, tree string) ([]bench.Row, error) {
	var rows []bench.Row
	for name, target := range map[string]string{"10,000 idle clients": "/4k.bin", "10,000 slow clients": "/256m.bin"} {
		if c.Only != "" && c.Only != name {
			continue
		}
		ours := memory(ctx, func() (*server, error) { return startOurs(ctx, c.Server, c.Scratch, tree) }, target)
		peer := memory(ctx, func() (*server, error) { return startNginx(ctx, c.Scratch, tree) }, target)
		a, b, err := bench.Compare(1, ours, peer)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, bench.NewRow(name, "MB", a, b, memoryAim))
		fmt.Fprintf(c.Out, "%-28s %-24s ours %8.3g  nginx %8.3g  ratio %.2f\n", name, "MB", a, b, a/b)
	}
	return rows, nil
}
