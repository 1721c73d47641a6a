package daemon

import (
	"fmt"
	"strconv"
	"strings"

	"micromirror/packages/rsync/wire"
)

// Bounds of what comes before the transfer.
const (
	maxLine  = 1023      // greeting, module name
	maxArg   = 5 << 10   // one argument, or what --early-input sends
	maxArgs  = 1000      // arguments
	maxBytes = 256 << 10 // of all arguments
	digests  = "sha512 sha256 sha1 md5 md4"
)

// errorLine tells the client why it is turned away.
func (c *conn) errorLine(format string, args ...any) error {
	fmt.Fprintf(c.w, "@ERROR: "+format+"\n", args...)
	return errSaid
}

// hello exchanges greetings and gives the module that the client names, or ""
// when it has got the list of modules.
func (c *conn) hello() (module string, err error) {
	fmt.Fprintf(c.w, "@RSYNCD: %d.0 %s\n", wire.MaxProtocol, digests)
	if c.cfg.MOTD != "" {
		fmt.Fprintf(c.w, "%s\n\n", strings.TrimSuffix(c.cfg.MOTD, "\n"))
	}
	line := c.r.Line(maxLine)
	if err := c.r.Err(); err != nil {
		return "", err
	}
	protocol, complaint := parseGreeting(line)
	if complaint != "" {
		return "", c.errorLine("%s", complaint)
	}
	c.protocol = protocol
	c.r.SetProtocol(protocol)
	c.w.SetProtocol(protocol)
	return c.wanted()
}

// wanted reads the name of a module.
func (c *conn) wanted() (string, error) {
	line := c.r.Line(maxLine)
	if early, ok := strings.CutPrefix(line, "#early_input="); ok {
		n, err := strconv.Atoi(early)
		if err != nil || n <= 0 || n > maxArg {
			return "", c.errorLine("invalid early_input length")
		}
		c.r.Skip(int64(n))
		line = c.r.Line(maxLine)
	}
	if err := c.r.Err(); err != nil {
		return "", err
	}
	switch {
	case line == "" || line == "#list":
		c.log.Info("module list")
		fmt.Fprintf(c.w, "%s@RSYNCD: EXIT\n", c.listing())
		return "", nil
	case line[0] == '#':
		return "", c.errorLine("Unknown command '%s'", clip(line))
	}
	return line, nil
}

// parseGreeting reads "@RSYNCD: PROTOCOL[.SUB] [DIGESTS]" and gives the protocol
// to speak, or what the client is to be told.
func parseGreeting(line string) (protocol int, complaint string) {
	rest, ok := strings.CutPrefix(line, "@RSYNCD: ")
	if !ok {
		return 0, "protocol startup error"
	}
	version, list, listed := strings.Cut(rest, " ")
	major, minor, dotted := strings.Cut(version, ".")
	protocol, err := strconv.Atoi(major)
	if err != nil {
		return 0, "protocol startup error"
	}
	sub := 0
	if dotted {
		if sub, err = strconv.Atoi(minor); err != nil {
			return 0, "protocol startup error"
		}
	}
	switch {
	case !dotted && protocol >= 30:
		return 0, "your client omitted the subprotocol value: " + clip(line)
	case (!listed || list == "") && protocol > 31:
		return 0, "your client omitted the digest name list: " + clip(line)
	case sub != 0 && protocol <= wire.MaxProtocol:
		protocol-- // a development version: only the one before is settled
	}
	if protocol = min(protocol, wire.MaxProtocol); protocol < wire.MinProtocol {
		return 0, fmt.Sprintf("protocol %d is too old for this server", protocol)
	}
	return protocol, ""
}

// readArgs reads arguments up to an empty one.
func (c *conn) readArgs(nul bool) ([]string, error) {
	var args []string
	total := 0
	for {
		arg := ""
		if nul {
			arg = c.readNul()
		} else {
			arg = c.r.Line(maxArg)
		}
		if err := c.r.Err(); err != nil {
			return nil, err
		}
		if arg == "" {
			return args, nil
		}
		if total += len(arg); len(args) == maxArgs || total > maxBytes {
			return nil, fmt.Errorf("too many arguments: %w", wire.ErrLimit)
		}
		args = append(args, arg)
	}
}

// readNul reads up to a NUL.
func (c *conn) readNul() string {
	var b []byte
	for c.r.Err() == nil {
		ch := c.r.Byte()
		if ch == 0 {
			return string(b)
		}
		if len(b) == maxArg {
			c.r.Failf("argument longer than %d bytes: %w", maxArg, wire.ErrLimit)
		}
		b = append(b, ch)
	}
	return ""
}

// clip shortens what a client sent, for messages.
func clip(s string) string { return s[:min(len(s), 100)] }
