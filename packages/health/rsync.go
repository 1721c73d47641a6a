package health

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
)

// rsyncVersion is the protocol greeted with: the newest for which a client need
// not list its digests.
const rsyncVersion = "@RSYNCD: 31.0\n"

// Rsync returns a check that the rsync daemon at address greets and lists the
// named modules, as a mirror's scanner would ask it to.
func Rsync(address string, modules []string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		listed, err := list(conn)
		if err != nil {
			return err
		}
		for _, m := range modules {
			if !slices.Contains(listed, m) {
				return fmt.Errorf("module %s is not listed", m)
			}
		}
		return nil
	}
}

// maxListing bounds what a daemon may say before the end of its list.
const maxListing = 1 << 20

// list reads the names of a daemon's modules, between its greeting and its
// goodbye. Lines of its message of the day look like modules, and do no harm.
func list(conn io.ReadWriter) ([]string, error) {
	lines := bufio.NewScanner(io.LimitReader(conn, maxListing))
	switch {
	case lines.Scan():
	case lines.Err() == nil: // how a flood is turned away
		return nil, Warning(errors.New("closed without a greeting"))
	default:
		return nil, fmt.Errorf("no greeting: %w", lines.Err())
	}
	if err := refusal(lines.Text()); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(lines.Text(), "@RSYNCD: ") {
		return nil, fmt.Errorf("greeting %.40q is not rsync's", lines.Text())
	}
	if _, err := io.WriteString(conn, rsyncVersion+"#list\n"); err != nil {
		return nil, fmt.Errorf("ask for the list: %w", err)
	}
	var modules []string
	for lines.Scan() {
		line := lines.Text()
		if line == "@RSYNCD: EXIT" {
			return modules, nil
		}
		if err := refusal(line); err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(line, "\t")
		modules = append(modules, strings.TrimRight(name, " "))
	}
	return nil, fmt.Errorf("list of modules has no end: %w", cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
}

// refusal understands the daemon's errors. Having all connections taken is a
// sign of health.
func refusal(line string) error {
	text, refused := strings.CutPrefix(line, "@ERROR: ")
	switch {
	case !refused:
		return nil
	case strings.Contains(text, "max connections"):
		return Warning(errors.New("all connections are taken"))
	default:
		return fmt.Errorf("refused: %.100q", text)
	}
}
