package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// ListOptions says what to list.
type ListOptions struct {
	Path   string       // below the module; "" is all of it
	Filter *filter.List // rules for the sender; nil for none

	NoHardLinks bool     // don't ask which files share an inode
	NoLinks     bool     // leave symbolic links out
	NoRecurse   bool     // list the directory itself and what is in it, no deeper
	Checksum    bool     // ask for the checksum of every file
	Args        []string // more arguments for the server

	abilities string // tests play an older client
}

// abilities tells a server since protocol 30 what this client can do: set times
// of links (L), convert links (s), tell I/O errors at a list's end (f), no
// optimised extended attributes (x), the seed in front for MD5 (C), partial
// files in place (I), flags as varint and negotiated checksums (v), the name of
// id 0 (u). Not i, incremental recursion.
const abilities = "e.LsfxCIvu"

// args gives the arguments as rsync itself would send them.
func (o *ListOptions) args(protocol int, timeout time.Duration, module string) []string {
	var b strings.Builder
	b.WriteByte('-')
	for _, f := range []struct {
		on     bool
		letter byte
	}{{!o.NoLinks, 'l'}, {o.NoRecurse, 'd'}, {!o.NoHardLinks, 'H'}, {true, 't'}, {true, 'p'}, {!o.NoRecurse, 'r'}, {o.Checksum, 'c'}} {
		if f.on {
			b.WriteByte(f.letter)
		}
	}
	if protocol >= 30 {
		b.WriteString(cmp.Or(o.abilities, abilities))
	}
	args := []string{"--server", "--sender", b.String()}
	if protocol >= 29 { // older servers would not send signs of life for it
		args = append(args, fmt.Sprintf("--timeout=%d", max(int(timeout/time.Second), 1)))
	}
	args = append(args, o.Args...)
	return append(args, ".", module+"/"+escape(strings.Trim(o.Path, "/"))+trailing(o.Path))
}

// trailing ends a path so that it means the directory's content.
func trailing(path string) string {
	if strings.Trim(path, "/") == "" {
		return ""
	}
	return "/"
}

// escape keeps the server from expanding wildcards in a path.
func escape(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// List fetches the list. Afterwards the connection waits for Transfer, kept
// alive in the background.
func (c *Conn) List(ctx context.Context, o ListOptions) (*flist.List, error) {
	if c.list != nil {
		return nil, errors.New("list files: only once for each connection")
	}
	stop := context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
	defer stop()
	list, err := c.fetchList(&o)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("list %s::%s/%s: %w", c.cfg.Addr, c.cfg.Module, o.Path, c.explain(err))
	}
	list.IOError |= c.messages.ioError
	c.list = list
	c.keepAlive()
	return list, nil
}

func (c *Conn) fetchList(o *ListOptions) (*flist.List, error) {
	rules, err := c.rules(o)
	if err != nil {
		return nil, err
	}
	c.sendArgs(o.args(c.Protocol, c.cfg.Timeout, c.cfg.Module))
	format, err := c.negotiate()
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		c.out.Int32(int32(len(r)))
		c.out.String(r)
	}
	c.out.Int32(0)
	if err := c.out.Flush(); err != nil {
		return nil, fmt.Errorf("send filter rules: %w", err)
	}
	format.Links, format.HardLinks = !o.NoLinks, !o.NoHardLinks
	if o.Checksum {
		format.Checksum = c.sums.Size()
	}
	list, err := flist.NewDecoder(c.in, format, c.cfg.Limits).Decode()
	if err != nil {
		return nil, err
	}
	return list, obeys(list, o.Filter)
}

// obeys refuses a list with names that the rules exclude: a server that sends
// them could make a caller write where it thinks nothing is ever written.
func obeys(list *flist.List, rules *filter.List) error {
	if rules == nil || rules.Len() == 0 {
		return nil
	}
	for i := range list.Len() {
		name := list.Name(i)
		if rules.Decide(name, list.Mode(i)&flist.ModeType == flist.ModeDir, filter.Sender) == filter.Exclude {
			return fmt.Errorf("server sent %q, which is excluded: %w", name, ErrProtocol)
		}
	}
	return nil
}

func (c *Conn) rules(o *ListOptions) ([]string, error) {
	var rules []string
	if o.Filter != nil {
		var err error
		if rules, err = o.Filter.Wire(c.Protocol); err != nil {
			return nil, err
		}
	}
	if o.NoRecurse {
		rules = append(rules, "- /*/*")
	}
	return rules, nil
}

func (c *Conn) sendArgs(args []string) {
	end := "\n"
	if c.Protocol >= 30 {
		end = "\x00"
	}
	for _, a := range args {
		c.out.String(a + end)
	}
	c.out.String(end)
	c.out.Flush()
}

// negotiate reads the compatibility flags, agrees on a checksum, learns the
// seed and turns on multiplexing.
func (c *Conn) negotiate() (flist.Format, error) {
	format := flist.Format{Protocol: c.Protocol, SafeList: c.Protocol >= 31}
	seedFirst, name := false, ""
	if c.Protocol >= 30 {
		flags := c.in.Varint()
		if flags&wire.CompatIncRecurse != 0 {
			return format, fmt.Errorf("server insists on incremental recursion: %w", ErrProtocol)
		}
		format.VarintFlags = flags&wire.CompatVarintFlistFlags != 0
		format.SafeList = format.SafeList || flags&wire.CompatSafeFlist != 0
		format.ID0Names = flags&wire.CompatID0Names != 0
		seedFirst = flags&wire.CompatChecksumSeedFix != 0
	}
	if format.VarintFlags {
		var err error
		if name, err = c.chooseChecksum(); err != nil {
			return format, err
		}
	}
	seed := c.in.Int32()
	if err := c.in.Err(); err != nil {
		return format, fmt.Errorf("read the server's settings: %w", err)
	}
	c.sums = checksum.ForProtocol(c.Protocol, seed, seedFirst)
	if name != "" {
		c.sums = checksum.Negotiated(name, seed, seedFirst)
	}
	c.in.StartMultiplex()
	if c.Protocol >= 30 {
		c.out.StartMultiplex()
	}
	return format, nil
}

func (c *Conn) chooseChecksum() (string, error) {
	ours := checksum.Names()
	if len(c.cfg.Checksums) > 0 {
		ours = strings.Join(c.cfg.Checksums, " ")
	}
	c.out.Vstring(ours)
	c.out.Flush()
	theirs := c.in.Vstring(1 << 10)
	if err := c.in.Err(); err != nil {
		return "", fmt.Errorf("read the server's checksums: %w", err)
	}
	return checksum.Choose(theirs, c.cfg.Checksums)
}

// keepAlive sends signs of life until c.alive is called.
func (c *Conn) keepAlive() {
	ctx, cancel := context.WithCancel(context.Background())
	c.alive = cancel
	timer := time.NewTimer(time.Duration(c.interval.Load()))
	go func() {
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
				timer.Reset(c.signOfLife())
			}
		}
	}()
}

// signOfLife sends one unless requests are on their way, and gives the time
// until the next.
func (c *Conn) signOfLife() time.Duration {
	if !c.outMu.TryLock() {
		return time.Second
	}
	defer c.outMu.Unlock()
	switch {
	case c.out.Multiplexed():
		c.out.Keepalive()
	case c.Protocol == 29:
		c.out.Ndx(int32(c.list.Len()))
		c.out.Uint16(wire.ItemIsNew)
		c.out.Flush()
	}
	return time.Duration(c.interval.Load())
}

// FileSum is the checksum that the session uses for a file's content, to be
// compared with those of a list that was asked for with checksums.
func (c *Conn) FileSum(content []byte) []byte {
	h := c.sums.ForList()
	h.Write(content)
	return h.Sum(nil)
}
