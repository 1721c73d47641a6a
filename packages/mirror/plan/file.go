package plan

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"micromirror/packages/mirror/tree"
	"micromirror/packages/project"
)

const magic = "micromirror-plan 1"

// ErrFormat is wrapped by every error about what a plan file says.
var ErrFormat = errors.New("not a valid plan")

// Header tells what a plan file is for.
type Header struct {
	Project string
	// Complete is false when some files could not be fetched: then the plan
	// holds nothing that replaces something, no index, no deletion and no tombstone.
	Complete bool
}

// Write writes the plan. stage names the staged content of an entry. Entries in
// failed are left out, with the hard links to them; unless the plan is to be
// complete all the same, so is everything that must not be published before
// them, and what would replace content that the indexes there name.
func (p *Plan) Write(w io.Writer, projectName string, stage func(i int) string, failed map[int]bool, complete bool) error {
	o := &output{w: bufio.NewWriterSize(w, 1<<16)}
	o.line(fmt.Appendf(nil, "%s %q %t\n", magic, projectName, complete))
	p.writeDirs(o)
	if !complete {
		failed = p.held(failed)
	}
	p.writePhase(o, project.Content, stage, failed)
	if complete {
		// A single file needs no help to appear at once.
		together := p.indexChanges() > 1
		if together {
			o.op(Op{Verb: Switch, Path: "."})
		}
		p.writePhase(o, project.Index, stage, failed)
		p.writePhase(o, project.Top, stage, failed)
		if together {
			o.op(Op{Verb: Settle, Path: "."})
		}
		p.writeDeletions(o)
	}
	p.writeTimes(o)
	o.line(fmt.Appendf(nil, "end %d %08x\n", o.lines, o.sum))
	if o.err != nil {
		return fmt.Errorf("write plan: %w", o.err)
	}
	return o.w.Flush()
}

// held adds what would replace content to what failed. Content that is only put
// right is as the indexes have it.
func (p *Plan) held(failed map[int]bool) map[int]bool {
	held := maps.Clone(failed)
	if held == nil {
		held = map[int]bool{}
	}
	for _, name := range p.Replaced {
		if i, ok := p.in.List.Find(name); ok && !slices.Contains(p.in.Distrust, name) {
			held[i] = true
		}
	}
	return held
}

// indexChanges counts the index files that are replaced or new.
func (p *Plan) indexChanges() int {
	n := 0
	for _, a := range p.action {
		switch a & kind {
		case fetch, hard, symlnk:
			if a&phaseMask != 0 {
				n++
			}
		}
	}
	return n
}

func (p *Plan) writeDirs(o *output) {
	for i, a := range p.action {
		if a&kind != mkdir {
			continue
		}
		name := p.in.List.Name(i)
		if a&conflict != 0 {
			o.op(Op{Verb: Away, Path: name}) // a file, where a directory is to be
		}
		if name != "." {
			o.op(Op{Verb: Dir, Path: name, Mode: DirMode(p.in.List.Mode(i))})
		}
	}
}

// writePhase writes one phase: modes and files, then hard links, then symbolic
// links.
func (p *Plan) writePhase(o *output, phase project.Phase, stage func(i int) string, failed map[int]bool) {
	for _, kinds := range [][]action{{chmod, fetch}, {hard}, {symlnk, stamp}} {
		for i, a := range p.action {
			if project.Phase(a&phaseMask>>phaseShift) != phase || !slices.Contains(kinds, a&kind) || failed[i] {
				continue
			}
			op := p.op(i, a&kind, stage)
			if op.Verb == Hard && failed[p.source(i)] {
				continue
			}
			if a&conflict != 0 {
				o.op(Op{Verb: Away, Path: op.Path, Mode: isDir})
			}
			o.op(op)
		}
	}
}

func (p *Plan) op(i int, k action, stage func(i int) string) Op {
	l := p.in.List
	op := Op{Path: l.Name(i), Size: l.Size(i)}
	op.Sec, op.Nsec = l.ModTime(i)
	switch k {
	case chmod:
		return Op{Verb: Mode, Path: op.Path, Mode: FileMode(l.Mode(i))}
	case fetch:
		op.Verb, op.Source, op.Mode = File, stage(i), FileMode(l.Mode(i))
	case hard:
		op.Verb, op.Source = Hard, l.Name(p.source(i))
	case symlnk:
		op.Verb, op.Source, op.Size = Link, l.Link(i), 0
	default:
		op.Verb, op.Size = Time, 0
	}
	return op
}

// writeDeletions deletes in the reverse order of publishing, and carries the
// tombstones of what stays.
func (p *Plan) writeDeletions(o *output) {
	for phase := project.Top; phase >= project.Content; phase-- {
		for _, name := range p.Drop {
			if p.in.Phase(name) == phase {
				o.op(Op{Verb: Drop, Path: name})
			}
		}
	}
	for name, since := range p.Gone {
		o.op(Op{Verb: Gone, Path: name, Sec: since.Unix()})
	}
}

// writeTimes goes backwards, so that a directory follows all below it.
func (p *Plan) writeTimes(o *output) {
	for i, a := range slices.Backward(p.action) {
		if a&touched != 0 {
			op := Op{Verb: Time, Path: p.in.List.Name(i), Mode: DirMode(p.in.List.Mode(i)) | isDir}
			op.Sec, op.Nsec = p.in.List.ModTime(i)
			o.op(op)
		}
	}
}

// isDir marks the Mode of a Time operation on a directory.
const isDir = 0o040000

// IsDir reports whether an Away or Time operation is about a directory.
func (o *Op) IsDir() bool { return o.Mode&isDir != 0 }

// output sums up what is written and remembers the first error.
type output struct {
	w     *bufio.Writer
	buf   []byte
	sum   uint32
	lines int
	err   error
}

func (o *output) op(op Op) {
	o.buf = op.append(o.buf[:0])
	o.line(o.buf)
}

func (o *output) line(b []byte) {
	o.sum = crc32.Update(o.sum, crc32.IEEETable, b)
	o.lines++
	if _, err := o.w.Write(b); err != nil && o.err == nil {
		o.err = err
	}
}

// Read hands every operation to do. It stops at the first error, which is do's
// or one of the file's; call it first with a do that changes nothing to know
// that the file is whole.
func Read(r io.Reader, do func(Op) error) (Header, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	in := &input{r: b}
	first, err := in.next()
	if err != nil {
		return Header{}, err
	}
	h, err := parseHeader(first)
	if err != nil {
		return h, err
	}
	for {
		lines, sum := in.lines, in.sum
		line, err := in.next()
		if err != nil {
			return h, err
		}
		if rest, ok := strings.CutPrefix(line, "end "); ok {
			if rest != fmt.Sprintf("%d %08x", lines, sum) {
				return h, fmt.Errorf("%w: damaged: ends with %.40q after %d lines", ErrFormat, rest, lines)
			}
			return h, nil
		}
		op, err := parseOp(line)
		if err != nil {
			return h, fmt.Errorf("%w: line %d: %w", ErrFormat, in.lines, err)
		}
		if err := do(op); err != nil {
			return h, err
		}
	}
}

func parseHeader(line string) (Header, error) {
	rest, ok := strings.CutPrefix(line, magic+" ")
	name, rest, err := unquote(rest)
	complete, berr := strconv.ParseBool(strings.TrimPrefix(rest, " "))
	if !ok || err != nil || berr != nil {
		return Header{}, fmt.Errorf("%w: header %.80q", ErrFormat, line)
	}
	return Header{Project: name, Complete: complete}, nil
}

type input struct {
	r     *bufio.Reader
	sum   uint32
	lines int
}

// maxLine holds two quoted names of any bytes.
const maxLine = 40 << 10

func (in *input) next() (string, error) {
	var line []byte
	for {
		part, err := in.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine {
			return "", fmt.Errorf("%w: no end after line %d: %w", ErrFormat, in.lines, err)
		}
	}
	in.sum = crc32.Update(in.sum, crc32.IEEETable, line)
	in.lines++
	return string(line[:len(line)-1]), nil
}

// check refuses what no plan may ask for.
func (o *Op) check() error {
	whole := o.Verb == Time || o.Verb == Switch || o.Verb == Settle
	if !tree.Clean(o.Path) && !(whole && o.Path == ".") {
		return fmt.Errorf("unsafe path %.200q", o.Path)
	}
	switch o.Verb {
	case File, Hard:
		if !tree.Clean(o.Source) {
			return fmt.Errorf("unsafe source %.200q", o.Source)
		}
	case Link:
		if o.Source == "" || strings.IndexByte(o.Source, 0) >= 0 || len(o.Source) >= 4096 {
			return fmt.Errorf("unsafe target %.200q", o.Source)
		}
	case Dir, Away, Mode, Time, Drop, Gone, Switch, Settle:
		if o.Source != "" {
			return fmt.Errorf("%s with a source", o.Verb)
		}
	default:
		return fmt.Errorf("unknown operation %.20q", o.Verb)
	}
	if perm := o.Mode &^ isDir; perm > 0o3777 || o.Verb != Dir && o.Verb != Time && perm > 0o777 {
		return fmt.Errorf("mode %o", o.Mode)
	}
	return nil
}
