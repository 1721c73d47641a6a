package daemon

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/filter"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/sender"
	"micromirror/packages/rsync/wire"
)

// Exit codes of rsync that a client is told.
const (
	exitSyntax      = 1
	exitProtocol    = 2
	exitUnsupported = 4
	exitMemory      = 22
)

// transfer serves a client that has named a module.
func (c *conn) transfer() error {
	o, err := c.offer()
	if err != nil {
		return err
	}
	fmt.Fprint(c.w, "@RSYNCD: OK\n")
	opts, paths, optErr, err := c.arguments()
	if err != nil {
		return err
	}
	c.until = time.Now().Add(10 * c.cfg.Handshake)
	c.pace.slow(opts.bandwidth)
	if opts.timeout > 0 {
		c.timeout = min(c.timeout, time.Duration(opts.timeout)*time.Second)
	}
	if optErr != nil {
		opts.info = "" // nothing is negotiated with a client that is turned away
	}
	sums, format, sumErr := c.negotiate(opts)
	if err := c.r.Err(); err != nil {
		return err
	}
	c.startMultiplex()
	if optErr = cmp.Or(optErr, opts.check(), sumErr); optErr != nil {
		return c.reject(exitUnsupported, "rsync: "+optErr.Error())
	}
	if !opts.sender {
		return c.reject(exitSyntax, "ERROR: module is read only")
	}
	if err := c.readRules(&opts.filter); err != nil {
		return c.refuse(err)
	}
	request, err := c.request(o, opts, paths)
	if err != nil {
		return c.refuse(err)
	}
	c.until = time.Time{}
	return c.send(o, opts, request, sums, format)
}

// arguments reads and parses the client's arguments. An optErr is for the
// client, who can be told only later.
func (c *conn) arguments() (opts *options, paths []string, optErr, err error) {
	args, err := c.readArgs(c.protocol >= 30)
	if err != nil {
		return nil, nil, nil, err
	}
	first, paths := splitArgs(args, true)
	opts = new(options)
	optErr = opts.parse(first, c.cfg.Refuse)
	if optErr != nil || !opts.secluded {
		return opts, paths, optErr, nil
	}
	if args, err = c.readArgs(true); err != nil {
		return nil, nil, nil, err
	}
	args = args[min(len(args), 1):] // the client's name for the program
	first, paths = splitArgs(args, false)
	return opts, paths, opts.parse(first, c.cfg.Refuse), nil
}

// check finds options that cannot be served.
func (o *options) check() error {
	if o.removeSource {
		return optionError("--remove-source-files cannot be used with a read-only module")
	}
	return nil
}

// negotiate sends compatibility flags, agrees on the checksum, and sends the
// seed. Its error is for the client, too.
func (c *conn) negotiate(o *options) (checksum.Sums, flist.Format, error) {
	f := flist.Format{
		Protocol: c.protocol, Links: o.links, HardLinks: o.hardLinks, Owner: o.owner, Group: o.group,
		Devices: o.devices, Specials: o.specials, NumericIDs: o.numericIDs,
	}
	flags := c.compatFlags(o, &f)
	choice, err := c.chooseSum(o, flags&wire.CompatVarintFlistFlags != 0)
	seed := int32(o.seed)
	if seed == 0 {
		var b [4]byte
		rand.Read(b[:])
		seed = int32(binary.LittleEndian.Uint32(b[:]) | 1)
	}
	c.w.Int32(seed)
	seedFirst := flags&wire.CompatChecksumSeedFix != 0
	sums := checksum.ForProtocol(c.protocol, seed, seedFirst)
	if choice != "" {
		sums = checksum.Negotiated(choice, seed, seedFirst)
	}
	if o.checksum {
		f.Checksum = sums.Size()
	}
	return sums, f, err
}

// compatFlags sends what both sides can do, since protocol 30.
func (c *conn) compatFlags(o *options, f *flist.Format) int {
	if c.protocol < 30 {
		return 0
	}
	flags := wire.CompatSymlinkTimes
	for letter, flag := range map[rune]int{
		'f': wire.CompatSafeFlist, 'x': wire.CompatAvoidXattrOptim, 'C': wire.CompatChecksumSeedFix,
		'v': wire.CompatVarintFlistFlags,
	} {
		if strings.ContainsRune(o.info, letter) {
			flags |= flag
		}
	}
	f.VarintFlags = flags&wire.CompatVarintFlistFlags != 0
	f.SafeList = flags&wire.CompatSafeFlist != 0 || c.protocol >= 31
	c.w.Varint(int32(flags))
	return flags
}

// chooseSum gives the name of the checksum that the client asked for or that
// was negotiated, or "" for the protocol's own.
func (c *conn) chooseSum(o *options, negotiated bool) (string, error) {
	if name, _, _ := strings.Cut(o.checksumChoice, ","); name != "" && name != "auto" {
		if !slices.Contains(strings.Fields(checksum.Names()), name) {
			return "", fmt.Errorf("unknown checksum name: %s", clip(name))
		}
		return name, nil
	}
	if !negotiated || o.checksumChoice != "" {
		return "", nil
	}
	c.w.Vstring(checksum.Names())
	const longest = 256
	theirs := c.r.Vstring(longest)
	return checksum.Choose(theirs, nil)
}

func (c *conn) startMultiplex() {
	c.alive()
	c.w.StartMultiplex()
	if c.protocol >= 31 && c.timeout >= time.Second {
		c.w.MessageInt32(wire.IOTimeout, int32(c.timeout/time.Second))
	}
	if c.protocol >= 30 {
		c.r.StartMultiplex()
	}
	c.r.Message = func(tag wire.Tag, _ []byte) error {
		if tag == wire.ErrorExit {
			return errors.New("client gave up")
		}
		return nil
	}
}

// refuse tells the client of a limit that it has met or of a rule that cannot be
// taken; other errors stay.
func (c *conn) refuse(err error) error {
	switch {
	case errors.Is(err, sender.ErrMemory), errors.Is(err, sender.ErrTooLarge):
		return c.reject(exitMemory, "rsync: [sender] "+err.Error())
	case errors.As(err, new(*filter.RuleError)):
		return c.reject(exitSyntax, err.Error())
	}
	return err
}

// reject tells the client of an error that ends the transfer.
func (c *conn) reject(code int32, text string) error {
	c.log.Info("rejected", "reason", text)
	c.w.Message(wire.Error, []byte(text+"\n"))
	if c.protocol >= 31 {
		c.w.MessageInt32(wire.ErrorExit, code)
	}
	return errSaid
}

// request says which entries the client gets.
func (c *conn) request(o *offer, opts *options, paths []string) (r *sender.Request, err error) {
	r = &sender.Request{
		Module: c.module.Name, Filter: &opts.filter, Recurse: opts.recurse,
		Dirs: opts.dirs || opts.recurse || opts.listOnly, Relative: opts.relative,
		CopyLinks: opts.copyLinks, CopyUnsafe: opts.copyUnsafe, CopyDirLinks: opts.copyDirLinks,
		NoImplied:     opts.noImplied && c.protocol < 30,
		IgnoreMissing: opts.ignoreMissing,
	}
	if opts.filesFrom {
		r.Relative, r.Dirs = !opts.noRelative, true
		r.Args, err = c.readNames(paths, opts)
		return r, err
	}
	r.Args = expandPaths(o.tree, c.module.Name, paths, opts.secluded)
	if len(r.Args) == 0 {
		r.Args = []string{""}
	}
	for _, a := range r.Args {
		if err := c.account.Take(int64(len(a)) + nameSize); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// send runs the transfer and logs what it came to.
func (c *conn) send(o *offer, opts *options, r *sender.Request, sums checksum.Sums, f flist.Format) error {
	s := sender.Session{
		Tree: o.tree, Root: o.root, R: c.r, W: c.w, Format: f, Sums: sums, Alive: c.alive, Buffers: &c.buffers, Account: c.account,
		Public: !c.module.Unreadable, DryRun: opts.dryRun, Inplace: opts.inplace, Append: opts.appends,
		IgnoreErrors: opts.ignoreErrors, Older: c.module.Older,
	}
	if s.Append == 1 && c.protocol < 30 {
		s.Append = 2
	}
	start := time.Now()
	stats, err := s.Run(c.ctx, r)
	c.log.Info("transfer", "protocol", c.protocol, "sum", sums.Name(), "path", clip(strings.Join(r.Args, " ")),
		"entries", stats.Entries, "files", stats.Files, "bytes", stats.Bytes, "literal", stats.Literal,
		"failed", stats.Failed, "sent", c.w.Total(), "received", c.r.Total(),
		"seconds", time.Since(start).Round(time.Millisecond).Seconds(), "err", errText(err))
	if err != nil {
		return fmt.Errorf("%w: %w", errSaid, c.refuse(err))
	}
	return nil
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
