package sender

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/delta"
	"micromirror/packages/rsync/wire"
)

// demand is one request of a client: an index, and what protocols since 29 say
// about it.
type demand struct {
	ndx   int32
	flags uint16
	basis byte
	xname string
}

// basisFile says that the client's old version is the file itself.
const basisFile = 0x80

// keepalive29 is the request by which protocol 29 shows signs of life: for the
// entry behind the last, with these flags.
const keepalive29 = wire.ItemIsNew

// serve answers requests until the client is done with its last phase.
func (t *transfer) serve(ctx context.Context) error {
	last := 1
	if t.Format.Protocol >= 29 {
		last = 2
	}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d, err := t.next()
		switch {
		case err != nil:
			return err
		case d.ndx == wire.NdxDone:
			if t.phase++; t.phase > last {
				return nil
			}
			t.W.Ndx(wire.NdxDone)
		case d.flags&wire.ItemTransfer == 0 || t.DryRun:
			d.write(t.W)
		case t.phase == 2:
			return fmt.Errorf("transfer of %d in the last phase: %w", d.ndx, ErrProtocol)
		default:
			if err := t.send(&d); err != nil {
				return err
			}
		}
		if err := t.W.Err(); err != nil {
			return err
		}
	}
}

// nextIndex reads an index; statistics about deleted files that come before it
// are answered with none of our own, as a server must.
func (t *transfer) nextIndex() (int32, error) {
	for {
		ndx := t.R.Ndx()
		if err := t.R.Err(); err != nil {
			return 0, err
		}
		if ndx != wire.NdxDelStats {
			return ndx, nil
		}
		for range 5 {
			t.R.Varint()
		}
		t.W.Ndx(wire.NdxDelStats)
		for range 5 {
			t.W.Varint(0)
		}
	}
}

// next reads a request.
func (t *transfer) next() (demand, error) {
	for {
		ndx, err := t.nextIndex()
		if err != nil || ndx == wire.NdxDone {
			return demand{ndx: ndx}, err
		}
		d := demand{ndx: ndx, flags: wire.ItemTransfer, basis: basisFile}
		if t.Format.Protocol >= 29 {
			d.read(t.R)
		}
		if t.Format.Protocol == 29 && int(ndx) == t.list.count && d.flags == keepalive29 {
			t.W.Keepalive()
			continue
		}
		if err := t.R.Err(); err != nil {
			return d, err
		}
		if ndx < 0 || int(ndx) >= t.list.count {
			return d, fmt.Errorf("%d of %d: %w", ndx, t.list.count, ErrIndex)
		}
		return d, nil
	}
}

func (d *demand) read(r *wire.Reader) {
	d.flags = r.Uint16()
	if d.flags&wire.ItemBasisTypeFollows != 0 {
		d.basis = r.Byte()
	}
	if d.flags&wire.ItemXnameFollows != 0 {
		d.xname = r.Vstring(maxPath)
	}
}

func (d *demand) write(w *wire.Writer) {
	w.Ndx(d.ndx)
	if w.Protocol() < 29 {
		return
	}
	w.Uint16(d.flags)
	if d.flags&wire.ItemBasisTypeFollows != 0 {
		w.Byte(d.basis)
	}
	if d.flags&wire.ItemXnameFollows != 0 {
		w.Vstring(d.xname)
	}
}

// send answers a request for a file.
func (t *transfer) send(d *demand) error {
	node, _, err := t.list.fromWire(t.Format.Protocol, d.ndx, t.Account)
	if err != nil {
		return err
	}
	if !t.Tree.nodes[node].isRegular() {
		return fmt.Errorf("%d is not a regular file: %w", d.ndx, ErrIndex)
	}
	h, err := delta.ReadHead(t.R, t.Sums.Size())
	if err != nil {
		return err
	}
	var b *basis
	appending := t.Append > 0 && t.phase == 0
	if !appending {
		b = readBasis(t.R, h, t.Sums, t.Account)
		defer b.release(t.Account)
	}
	if err := t.R.Err(); err != nil {
		return err
	}
	path := t.Tree.path(node)
	fd, size, err := t.open(node, path)
	if err != nil {
		t.cannotSend(d.ndx, path, err)
		return nil
	}
	defer unix.Close(fd)
	if appending && size < t.Tree.nodes[node].size {
		t.refuse(d.ndx, wire.Warning, fmt.Sprintf("skipped diminished file: \"%s\" (in %s)\n", path, t.module))
		return nil
	}
	d.write(t.W)
	h.Write(t.W)
	t.content(d, h, b, fd, size, appending)
	return nil
}

// content sends a file's tokens and its sum.
func (t *transfer) content(d *demand, h delta.Head, b *basis, fd int, size int64, appending bool) {
	need := windowSize
	if b != nil {
		need += int(b.BlockLen) + 1
	}
	buf := t.Buffers.get(need)
	defer t.Buffers.put(buf)
	m := matcher{
		basis: b, in: &window{fd: fd, size: size, buf: buf},
		out:     &output{w: t.W, sum: t.Sums.New(), alive: t.Alive},
		inplace: t.Inplace && (t.Format.Protocol < 29 || d.basis == basisFile),
	}
	if appending {
		t.skip(&m, min(h.Size(), size))
	}
	m.run()
	m.out.end(!m.in.short)
	if m.in.short {
		t.ioError |= wire.IOErrGeneral
	}
	t.stats.Files++
	t.stats.Bytes += size
	t.stats.Literal += m.out.literals
}

// skip passes over what an appending client has already; with --append-verify
// it counts in the sum.
func (t *transfer) skip(m *matcher, to int64) {
	if t.Append < 2 {
		m.sent = to
		return
	}
	for m.sent < to {
		t.Alive()
		m.in.slide(m.sent)
		data := m.in.from(m.sent)
		data = data[:min(int64(len(data)), to-m.sent)]
		m.out.sum.Write(data)
		m.sent += int64(len(data))
	}
}

// cannotSend tells the client why it does not get a file.
func (t *transfer) cannotSend(ndx int32, path string, err error) {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		t.ioError |= wire.IOErrVanished
		tag := wire.Warning
		if t.Format.Protocol < 28 {
			tag = wire.Error
		}
		t.refuse(ndx, tag, fmt.Sprintf("file has vanished: \"%s\" (in %s)\n", path, t.module))
		return
	}
	t.ioError |= wire.IOErrGeneral
	var errno unix.Errno
	errors.As(err, &errno)
	t.refuse(ndx, wire.ErrorXfer, fmt.Sprintf("rsync: [sender] send_files failed to open \"%s\" (in %s): %s (%d)\n", path, t.module, strerror(errno), errno))
}

func (t *transfer) refuse(ndx int32, tag wire.Tag, text string) {
	t.stats.Failed++
	t.W.Message(tag, []byte(text))
	if t.Format.Protocol >= 30 {
		t.W.MessageInt32(wire.NoSend, ndx)
	}
}
