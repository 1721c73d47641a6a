package daemon

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"micromirror/packages/rsync/filter"
)

// options are what a client's arguments ask of a sender. All else that a client
// of rsync 3.5.0 may send is accepted and has no effect.
type options struct {
	server, sender bool
	info           string // letters of -e: what the client can do

	recurse, dirs, relative, noRelative, noImplied bool
	links, hardLinks                               bool
	copyLinks, copyUnsafe, copyDirLinks            bool
	owner, group, devices, specials                bool
	perms, times                                   bool
	checksum, dryRun, inplace                      bool
	numericIDs, ignoreErrors                       bool
	ignoreMissing                                  bool
	deleteExcluded, secluded, listOnly             bool
	removeSource, filesFrom, fromNul               bool
	appends, timeout, seed, bandwidth              int
	checksumChoice                                 string
	filter                                         filter.List
}

// option is one row of the table: what an option does to the options.
type option struct {
	short byte
	flag  *bool                // set, or cleared by the --no- form
	value func(v string) error // takes an argument
	act   func() error         // takes none
	quiet bool                 // accepted without effect
	arg   bool                 // quiet, with an argument
}

// optionError is a reason to refuse that the client is shown.
type optionError string

func (e optionError) Error() string { return string(e) }

// parser holds the table of one parse.
type parser struct {
	*options
	long   map[string]*option
	short  map[byte]string
	refuse []string
}

// parse parses the arguments that a client sends, as popt does: long options
// with "=" or a following argument, bundles of short ones. refuse holds names of
// long options, with wildcards, that the server does not want. What is already
// set stays.
func (o *options) parse(args, refuse []string) error {
	p := parser{options: o, refuse: refuse, short: map[byte]string{}}
	p.long = o.table()
	for name, opt := range p.long {
		if opt.short != 0 {
			p.short[opt.short] = name
		}
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			return nil
		case strings.HasPrefix(arg, "--"):
			args, err = p.parseLong(arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = p.parseShort(arg[1:], args)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) parseLong(arg string, rest []string) ([]string, error) {
	name, value, given := strings.Cut(arg, "=")
	opt := p.long[name]
	if opt == nil {
		return rest, p.negate(name)
	}
	if !given && (opt.value != nil || opt.arg) {
		if len(rest) == 0 {
			return rest, unknown("--"+name, "missing argument")
		}
		value, rest = rest[0], rest[1:]
	}
	return rest, p.apply(name, opt, value)
}

// negate applies --no-NAME, where NAME may be one letter.
func (p *parser) negate(name string) error {
	bare, no := strings.CutPrefix(name, "no-")
	if len(bare) == 1 && p.short[bare[0]] != "" {
		bare = p.short[bare[0]]
	}
	opt := p.long[bare]
	if !no || opt == nil {
		return unknown("--"+name, "unknown option")
	}
	if opt.flag != nil {
		*opt.flag = false
	}
	switch bare {
	case "D":
		p.devices, p.specials = false, false
	case "relative":
		p.noRelative = true
	case "implied-dirs", "i-d":
		p.noImplied = true
	}
	return nil
}

func (p *parser) parseShort(bundle string, rest []string) ([]string, error) {
	for i := 0; i < len(bundle); i++ {
		name := p.short[bundle[i]]
		opt := p.long[name]
		if opt == nil {
			return rest, unknown("-"+bundle[i:i+1], "unknown option")
		}
		if opt.value == nil && !opt.arg {
			if err := p.apply(name, opt, ""); err != nil {
				return rest, err
			}
			continue
		}
		value := strings.TrimPrefix(bundle[i+1:], "=")
		if value == "" {
			if len(rest) == 0 {
				return rest, unknown("-"+bundle[i:i+1], "missing argument")
			}
			value, rest = rest[0], rest[1:]
		}
		return rest, p.apply(name, opt, value)
	}
	return rest, nil
}

func unknown(arg, why string) error {
	if len(arg) > 100 {
		arg = arg[:100]
	}
	return optionError(fmt.Sprintf("on remote machine: %s: %s", arg, why))
}

func (p *parser) apply(name string, opt *option, value string) error {
	for _, pattern := range p.refuse {
		if ok, err := path.Match(pattern, name); ok && err == nil {
			return refused(name, opt.short)
		}
	}
	switch {
	case opt.flag != nil:
		*opt.flag = true
	case opt.value != nil:
		return opt.value(value)
	case opt.act != nil:
		return opt.act()
	}
	return nil
}

// refused says so in rsync's words.
func refused(name string, short byte) error {
	text := "The server is configured to refuse --" + name
	if short != 0 {
		text += " (-" + string(rune(short)) + ")"
	}
	return optionError(text)
}

// number parses a count that a client gives.
func number(into *int, lo, hi int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil {
			return optionError(fmt.Sprintf("on remote machine: %.100q: invalid numeric value", v))
		}
		*into = min(max(n, lo), hi)
		return nil
	}
}
