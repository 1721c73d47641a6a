package client

import (
	"errors"
	"fmt"

	"micromirror/packages/rsync/delta"
	"micromirror/packages/rsync/wire"
)

// maxName is the longest name in an answer.
const maxName = 4096

// receive takes answers until the sender has ended all phases and said its
// statistics and, since protocol 31, goodbye.
func (t *transfer) receive() error {
	last := 1
	if t.c.Protocol >= 29 {
		last = 2
	}
	again := []int{}
	w := newStageWriter(t.req.Stage, t.req.Sparse)
	defer w.close()
	for phase := 0; phase <= last; {
		ndx := t.c.in.Ndx()
		if err := t.c.in.Err(); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if ndx == wire.NdxDone {
			if phase++; phase == 1 {
				t.redo <- again
			}
			continue
		}
		repeat, err := t.answer(ndx, phase, w)
		if err != nil {
			return err
		}
		if repeat >= 0 {
			again = append(again, repeat)
		}
	}
	return t.statistics()
}

// statistics passes over the numbers that the sender ends with.
func (t *transfer) statistics() error {
	count := 3
	if t.c.Protocol >= 29 {
		count = 5
	}
	for range count {
		t.c.in.Varlong30(3)
	}
	if t.c.Protocol >= 31 {
		if ndx := t.c.in.Ndx(); ndx != wire.NdxDone && t.c.in.Err() == nil {
			return fmt.Errorf("index %d in place of a goodbye: %w", ndx, ErrProtocol)
		}
	}
	if err := t.c.in.Err(); err != nil {
		return fmt.Errorf("read statistics: %w", err)
	}
	return nil
}

// answer takes what the sender says about one file. It gives the file's index
// if it has to be fetched again, else -1.
func (t *transfer) answer(ndx int32, phase int, w *stageWriter) (repeat int, err error) {
	flags := uint16(wire.ItemTransfer)
	if t.c.Protocol >= 29 {
		flags = t.c.in.Uint16()
		if flags&wire.ItemBasisTypeFollows != 0 {
			t.c.in.Byte()
		}
		if flags&wire.ItemXnameFollows != 0 {
			t.c.in.Vstring(maxName)
		}
	}
	if err := t.c.in.Err(); err != nil {
		return -1, fmt.Errorf("read answer: %w", err)
	}
	if flags&wire.ItemTransfer == 0 && ndx >= 0 && int(ndx) <= t.list.Len() {
		return -1, nil // an echo, or a keep-alive of protocol 29
	}
	if ndx < 0 || int(ndx) >= t.list.Len() {
		return -1, fmt.Errorf("file index %d out of range: %w", ndx, ErrProtocol)
	}
	i := t.list.FromWire(t.c.Protocol, ndx)
	if phase > 1 || !t.answered(i) {
		return -1, fmt.Errorf("%q was not asked for: %w", t.list.Name(i), ErrProtocol)
	}
	err = t.file(i, phase, w)
	switch {
	case err == nil:
		t.finish(i, nil)
	case t.c.in.Err() != nil:
		return -1, err
	case isFatal(err):
		return -1, err
	case errors.Is(err, ErrChecksum) && phase == 0:
		t.result.Repeated++
		return i, nil
	default:
		t.finish(i, err)
	}
	return -1, nil
}

// file receives the content of one file.
func (t *transfer) file(i, phase int, w *stageWriter) error {
	name := t.list.Name(i)
	head, err := delta.ReadHead(t.c.in, t.c.sums.Size())
	if err == nil && head.BlockLen > delta.MaxBlock {
		err = t.c.in.Failf("blocks of %d bytes were not asked for: %w", head.BlockLen, ErrProtocol)
	}
	if err != nil {
		return fmt.Errorf("receive %q: %w", name, err)
	}
	openErr := w.open(t.req.Dest(i), phase == 0)
	if openErr == nil && head.Count > 0 && !w.resumed {
		w.setBasis(t.callerBasis(i))
	}
	sum := t.c.sums.New()
	w.begin(sum, head, t.list.Size(i))
	err = t.tokens(head, w, openErr != nil)
	var theirs [16]byte
	t.c.in.Full(theirs[:t.c.sums.Size()])
	switch {
	case t.c.in.Err() != nil:
		w.keep()
		return fmt.Errorf("receive %q: %w", name, t.c.in.Err())
	case openErr != nil:
		return fmt.Errorf("receive %q: %w", name, openErr)
	case err != nil:
		w.discard()
		return fmt.Errorf("receive %q: %w", name, err)
	}
	if err := w.flush(); err != nil {
		return fmt.Errorf("receive %q: %w", name, err)
	}
	if string(sum.Sum(nil)) != string(theirs[:t.c.sums.Size()]) {
		w.discard()
		return fmt.Errorf("receive %q: %w", name, ErrChecksum)
	}
	if w.offset != t.list.Size(i) {
		w.discard()
		return fmt.Errorf("receive %q: %d bytes instead of %d: %w", name, w.offset, t.list.Size(i), ErrChanged)
	}
	sec, nsec := t.list.ModTime(i)
	if err := w.complete(t.list.Mode(i), sec, nsec); err != nil {
		return fmt.Errorf("receive %q: %w", name, err)
	}
	return nil
}

// tokens takes literal data and references to the basis until the end of the
// file. After an error of w it goes on reading, for the stream must be followed.
func (t *transfer) tokens(head delta.Head, w *stageWriter, drop bool) error {
	in := t.c.in
	var failed error
	for {
		token := in.Int32()
		switch {
		case in.Err() != nil:
			return in.Err()
		case token == 0:
			return failed
		case token > 0:
			if err := t.literal(int(token), w, drop || failed != nil); err != nil && failed == nil {
				failed = err
			}
		default:
			block := -(token + 1)
			if block < 0 || block >= head.Count {
				return in.Failf("block %d of %d: %w", block, head.Count, ErrProtocol)
			}
			n, err := w.match(block, drop || failed != nil)
			t.result.Matched += int64(n)
			t.meter.bytes(n)
			if failed == nil {
				failed = err
			}
		}
		if w.tooLong() {
			return in.Failf("file is far longer than announced: %w", ErrProtocol)
		}
	}
}

// literal takes n bytes of data.
func (t *transfer) literal(n int, w *stageWriter, drop bool) (failed error) {
	for n > 0 && !w.tooLong() {
		p := t.c.in.Next(n)
		if p == nil {
			return t.c.in.Err()
		}
		n -= len(p)
		t.result.Literal += int64(len(p))
		t.meter.bytes(len(p))
		w.seen += int64(len(p))
		if !drop && failed == nil {
			failed = w.write(p)
		}
	}
	return failed
}
