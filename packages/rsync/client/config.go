package client

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// Port is the daemon's usual port.
const Port = "873"

// Config says whom to talk to and how. Only Addr and Module are needed.
type Config struct {
	Addr     string        // host or host:port
	Module   string        // name of the module
	User     string        // for modules that ask for a login
	Password string        //
	Timeout  time.Duration // for each read and write; default 10 minutes
	Rate     int64         // bytes per second, 0 for no limit
	Limiter  *rate.Limiter // a further limit, shared with other connections
	Log      *slog.Logger  // default: discard

	// Dialer makes the connection; default is a net.Dialer.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

	Protocol  int          // the newest to offer; default wire.MaxProtocol
	Checksums []string     // restricts which checksums are offered, best first
	Limits    flist.Limits // of the file list
}

// Errors that callers tell apart.
var (
	ErrVanished = errors.New("file has vanished")
	ErrChanged  = errors.New("file changed while it was sent")
	ErrChecksum = errors.New("checksum does not match")
	ErrProtocol = errors.New("protocol error")
	ErrRefused  = errors.New("refused by the server")
)

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		c.Addr = net.JoinHostPort(strings.Trim(c.Addr, "[]"), Port)
	}
	c.Timeout = cmp.Or(c.Timeout, 10*time.Minute)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	c.Protocol = min(max(cmp.Or(c.Protocol, wire.MaxProtocol), wire.MinProtocol), wire.MaxProtocol)
	if c.Dialer == nil {
		c.Dialer = new(net.Dialer).DialContext
	}
	return c
}

// limiter paces one connection: bursts of a quarter second, at least 64 KiB.
func (c *Config) limiter() *rate.Limiter {
	if c.Rate <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(c.Rate), int(min(max(c.Rate/4, 64<<10), 4<<20)))
}
