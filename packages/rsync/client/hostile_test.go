package client

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// script is the server's side of a session of protocol 31 up to the answers,
// with a list of the root, a link and two files of five bytes.
func script(answers func(w *wire.Writer)) []byte {
	var b bytes.Buffer
	w := wire.NewWriter(&b, 0)
	w.SetProtocol(31)
	w.String("@RSYNCD: 31.0 md5\nwelcome\n@RSYNCD: OK\n")
	w.Varint(0) // no compatibility flags
	w.Int32(0)  // no seed
	w.StartMultiplex()
	e := flist.NewEncoder(w, flist.Format{Protocol: 31, Links: true, HardLinks: true, SafeList: true})
	for _, f := range []flist.File{
		{Name: ".", Mode: flist.ModeDir | 0o755},
		{Name: "a", Mode: flist.ModeRegular | 0o644, Size: 5},
		{Name: "b", Mode: flist.ModeRegular | 0o644, Size: 5},
		{Name: "c", Mode: flist.ModeSymlink | 0o777, Link: "a"},
	} {
		f.HardLink = flist.NoHardLink
		e.Entry(&f, flist.Inner)
	}
	e.End(0)
	answers(w)
	w.Flush()
	return b.Bytes()
}

// answer begins the answer about a file.
func answer(w *wire.Writer, ndx, blocks, blockLen int32) {
	w.Ndx(ndx)
	w.Uint16(wire.ItemTransfer)
	for _, v := range []int32{blocks, blockLen, 2, 0} {
		w.Int32(v)
	}
}

func content(w *wire.Writer, text string) {
	w.Int32(int32(len(text)))
	w.String(text)
	w.Int32(0)
	sum := md5.Sum([]byte(text))
	w.Write(sum[:])
}

func goodEnd(w *wire.Writer) {
	for range 3 {
		w.Ndx(wire.NdxDone)
	}
	for range 5 {
		w.Varlong(1, 3)
	}
	w.Ndx(wire.NdxDone)
}

func TestHostileServer(t *testing.T) {
	tests := []struct {
		name    string
		answers func(w *wire.Writer)
		want    string // part of the error, of the run or of file a
	}{
		{"good", func(w *wire.Writer) { answer(w, 1, 0, 0); content(w, "12345"); goodEnd(w) }, ""},
		{"not asked for", func(w *wire.Writer) { answer(w, 2, 0, 0); content(w, "12345"); goodEnd(w) }, `"b" was not asked for`},
		{"twice", func(w *wire.Writer) {
			answer(w, 1, 0, 0)
			content(w, "12345")
			answer(w, 1, 0, 0)
			content(w, "54321")
		}, `"a" was not asked for`},
		{"a link", func(w *wire.Writer) { answer(w, 3, 0, 0); content(w, "12345") }, `"c" was not asked for`},
		{"index too large", func(w *wire.Writer) { answer(w, 400, 0, 0) }, "out of range"},
		{"index negative", func(w *wire.Writer) { w.Ndx(-101); w.Uint16(0) }, "out of range"},
		{"block without basis", func(w *wire.Writer) { answer(w, 1, 0, 0); w.Int32(-1) }, "block 0 of 0"},
		{"block out of range", func(w *wire.Writer) { answer(w, 1, 1, 700); w.Int32(-5) }, "block 4 of 1"},
		{"huge blocks", func(w *wire.Writer) { answer(w, 1, 1, 1<<17+8) }, "invalid head"},
		{"negative count", func(w *wire.Writer) { answer(w, 1, -1, 700) }, "invalid head"},
		{"too long", func(w *wire.Writer) { answer(w, 1, 0, 0); content(w, "123456"); goodEnd(w) }, "file changed"},
		{"too short", func(w *wire.Writer) { answer(w, 1, 0, 0); content(w, "1234"); goodEnd(w) }, "file changed"},
		{"silence", func(w *wire.Writer) { goodEnd(w) }, `"a" could not be sent: no reason given`},
		{"no-send out of range", func(w *wire.Writer) { w.MessageInt32(wire.NoSend, 99) }, "out of range"},
		{"no-send of what was not asked for", func(w *wire.Writer) { w.MessageInt32(wire.NoSend, 2) }, "not asked for"},
		{"no-send malformed", func(w *wire.Writer) { w.Message(wire.NoSend, []byte("x")) }, "1 bytes"},
		{"vanished", func(w *wire.Writer) {
			w.Message(wire.Warning, []byte("file has vanished: \"a\" (in m)\n"))
			w.MessageInt32(wire.NoSend, 1)
			goodEnd(w)
		}, "vanished"},
		{"gives up", func(w *wire.Writer) {
			w.Message(wire.Error, []byte("disk on \x1b[31mfire\n"))
			w.MessageInt32(wire.ErrorExit, 11)
		}, "exit code 11: disk on  [31mfire"},
		{"unknown message", func(w *wire.Writer) { w.Message(77, nil) }, "unknown kind 77"},
		{"transfer after the end", func(w *wire.Writer) { w.Ndx(wire.NdxDone); w.Ndx(wire.NdxDone); answer(w, 1, 0, 0) }, "not asked for"},
		{"no goodbye", func(w *wire.Writer) {
			answer(w, 1, 0, 0)
			content(w, "12345")
			for range 3 {
				w.Ndx(wire.NdxDone)
			}
		}, io.ErrUnexpectedEOF.Error()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := hostile(t, script(tt.answers))
			if tt.want == "" && got != nil || tt.want != "" && (got == nil || !strings.Contains(got.Error(), tt.want)) {
				t.Errorf("got %v, want %q", got, tt.want)
			}
		})
	}
}

// hostile asks a tape for file a and gives what went wrong.
func hostile(t *testing.T, said []byte) error {
	t.Helper()
	c, err := Dial(t.Context(), Config{Addr: "tape", Module: "m", Dialer: func(context.Context, string, string) (net.Conn, error) {
		return &tape{rest: said}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if c.MOTD != "welcome\n" {
		t.Errorf("motd %q", c.MOTD)
	}
	list, err := c.List(t.Context(), ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stage, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	result, err := c.Transfer(t.Context(), Request{Files: []int{1}, Stage: stage, Dest: list.Name})
	return errors.Join(err, result.Failed[1])
}
