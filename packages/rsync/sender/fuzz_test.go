package sender

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/delta"
	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// sumsOf writes the head and the sums that a client sends of its old version.
func sumsOf(w *wire.Writer, old []byte, h delta.Head, sums checksum.Sums) delta.Head {
	h.Count = int32((len(old) + int(h.BlockLen) - 1) / int(h.BlockLen))
	h.Remainder = int32(len(old) % int(h.BlockLen))
	h.Write(w)
	for len(old) > 0 {
		block := old[:min(int(h.BlockLen), len(old))]
		old = old[len(block):]
		w.Int32(int32(checksum.Weak(block)))
		w.Write(sums.Block(nil, block)[:h.SumLen])
	}
	return h
}

// rebuild makes the new file from the old one and tokens, as a client does.
func rebuild(t *testing.T, old, tokens []byte, h delta.Head, inplace bool) []byte {
	t.Helper()
	var out []byte
	for {
		n := int32(binary.LittleEndian.Uint32(tokens))
		tokens = tokens[4:]
		switch {
		case n == 0:
			return out
		case n > 0:
			out = append(out, tokens[:n]...)
			tokens = tokens[n:]
		default:
			at := int(-n-1) * int(h.BlockLen)
			if inplace && at < len(out) {
				t.Fatalf("block at %d is referred to when %d bytes are written", at, len(out))
			}
			out = append(out, old[at:min(at+int(h.BlockLen), len(old))]...)
		}
	}
}

// FuzzMatch sends a file as difference to another and rebuilds it.
func FuzzMatch(f *testing.F) {
	text := bytes.Repeat([]byte("the quick brown fox "), 500)
	f.Add(text, append(append(bytes.Clone(text[:777]), 'x'), text[770:]...), uint16(64), uint8(4), false)
	f.Add(text, append(bytes.Clone(text[5000:]), text[:5000]...), uint16(700), uint8(16), true)
	f.Add([]byte("aaaaaaaaaaaaaaaa"), bytes.Repeat([]byte("a"), 1000), uint16(3), uint8(2), false)
	f.Add(text[:1000], text[:999], uint16(333), uint8(2), true)
	f.Fuzz(func(t *testing.T, old, file []byte, length uint16, strong uint8, inplace bool) {
		if len(old) > 1<<16 || len(file) > 1<<16 {
			return
		}
		sums := checksum.Negotiated("xxh128", 7, false)
		var sent bytes.Buffer
		w := wire.NewWriter(&sent, 0)
		h := sumsOf(w, old, delta.Head{BlockLen: int32(length)%4000 + 1, SumLen: 12 + int32(strong)%5}, sums)
		w.Flush()
		r := wire.NewReader(&sent, 0)
		if _, err := delta.ReadHead(r, 16); err != nil {
			t.Fatal(err)
		}
		b := readBasis(r, h, sums, nil)
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		tokens, _ := runMatcher(t, b, file, sums, inplace)
		if got := rebuild(t, old, tokens, h, inplace); !bytes.Equal(got, file) {
			t.Errorf("rebuilt %d bytes differ from %d", len(got), len(file))
		}
	})
}

// runMatcher gives the tokens by which a file is sent, through a small window.
func runMatcher(t *testing.T, b *basis, file []byte, sums checksum.Sums, inplace bool) ([]byte, *matcher) {
	t.Helper()
	fd, err := unix.MemfdCreate("file", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	tmp := os.NewFile(uintptr(fd), "file")
	defer tmp.Close()
	if _, err := tmp.Write(file); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := wire.NewWriter(&out, 0)
	size := 257
	if b != nil {
		size += int(b.BlockLen)
	}
	m := matcher{
		basis: b, in: &window{fd: fd, size: int64(len(file)), buf: make([]byte, size)},
		out: &output{w: w, sum: sums.New(), alive: func() {}}, inplace: inplace,
	}
	m.run()
	w.Int32(0)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	whole := sums.New()
	whole.Write(file)
	if got, want := m.out.sum.Sum(nil), whole.Sum(nil); !bytes.Equal(got, want) {
		t.Errorf("sum of the file is %x, want %x", got, want)
	}
	return out.Bytes(), &m
}

// FuzzSums reads a head and sums from arbitrary bytes.
func FuzzSums(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint8(31))
	f.Add([]byte{255, 255, 255, 127, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0}, uint8(27))
	f.Fuzz(func(t *testing.T, data []byte, protocol uint8) {
		r := wire.NewReader(bytes.NewReader(data), 0)
		r.SetProtocol(int(protocol))
		h, err := delta.ReadHead(r, 16)
		if err != nil {
			return
		}
		memory := NewMemory(1 << 20)
		account := memory.Account()
		b := readBasis(r, h, checksum.ForProtocol(int(protocol), 1, true), account)
		if b != nil && len(b.weak)*int(4+b.SumLen) > len(data) {
			t.Errorf("%d blocks from %d bytes", len(b.weak), len(data))
		}
		if b.release(account); account.used != 0 {
			t.Errorf("%d bytes are still taken", account.used)
		}
	})
}

// FuzzRequests gives arbitrary bytes to a session in place of a client's
// requests.
func FuzzRequests(f *testing.F) {
	root := usual(f)
	tree, err := Scan(f.Context(), root, ScanOptions{})
	if err != nil {
		f.Fatal(err)
	}
	buffers := new(Buffers)
	done := []byte{0, 0, 0, 0, 0, 0}
	f.Add(done, uint8(31), false, uint8(0), "", "")
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}, uint8(28), false, uint8(3), "a/", "- x")
	one := append([]byte{3, 0, 128}, make([]byte, 16)...)
	f.Add(append(one, done...), uint8(32), true, uint8(1), "big", "")
	f.Fuzz(func(t *testing.T, requests []byte, protocol uint8, mux bool, flags uint8, arg, rule string) {
		p := 27 + int(protocol)%6
		r, w := wire.NewReader(bytes.NewReader(requests), 0), wire.NewWriter(io.Discard, 0)
		r.SetProtocol(p)
		w.SetProtocol(p)
		w.StartMultiplex()
		if mux {
			r.StartMultiplex()
		}
		bit := func(n int) bool { return flags>>n&1 != 0 }
		req := Request{Module: "m", Args: []string{arg}, Recurse: !bit(0), Dirs: bit(1), Relative: bit(2), CopyLinks: bit(3), CopyUnsafe: bit(4), CopyDirLinks: bit(5)}
		s := Session{
			Tree: tree, Root: root, R: r, W: w, Sums: checksum.ForProtocol(p, 1, true), Alive: func() {}, Buffers: buffers,
			Format: flist.Format{Protocol: p, Links: bit(6), HardLinks: bit(7), VarintFlags: p >= 31}, Inplace: bit(0), DryRun: bit(1), Append: int(flags) % 3,
		}
		if rule != "" {
			l, err := filterOf(rule)
			if err != nil {
				return
			}
			req.Filter = l
		}
		stats, err := s.Run(t.Context(), &req)
		if err == nil && stats.Entries > 0 && len(requests) == 0 {
			t.Error("a session without requests ended well")
		}
	})
}
