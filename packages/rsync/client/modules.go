package client

import (
	"context"
	"fmt"
	"strings"
)

// Module is a line of a server's listing.
type Module struct{ Name, Comment string }

// maxModules bounds a listing.
const maxModules = 10_000

// Modules lists the modules of a server.
func Modules(ctx context.Context, cfg Config) ([]Module, error) {
	c, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.greet("#list"); err != nil {
		return nil, fmt.Errorf("list modules of %s: %w", c.cfg.Addr, err)
	}
	var modules []Module
	for len(modules) < maxModules {
		line := c.in.Line(maxLine)
		switch err := c.in.Err(); {
		case err != nil:
			return nil, fmt.Errorf("list modules of %s: %w", c.cfg.Addr, err)
		case line == "@RSYNCD: EXIT":
			return modules, nil
		case strings.HasPrefix(line, "@ERROR"):
			return nil, fmt.Errorf("list modules of %s: %s: %w", c.cfg.Addr, printable(line), ErrRefused)
		}
		// A listing's line has a tab after the name; others are the motd.
		if name, comment, ok := strings.Cut(line, "\t"); ok {
			modules = append(modules, Module{strings.TrimRight(name, " "), comment})
		}
	}
	return nil, fmt.Errorf("list modules of %s: more than %d: %w", c.cfg.Addr, maxModules, ErrProtocol)
}
