package update

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/chunk"
	"micromirror/packages/disk"
	"micromirror/packages/durable"
	"micromirror/packages/release"
	"micromirror/packages/slot"
)

// local opens what both slots have of a file: most of a new release is there
// already. What cannot be opened has to travel, and so does what is in a slot
// without an entry.
func (u *Updater) local(ctx context.Context, name string) (sources []chunk.Source, closeAll func()) {
	var files []*os.File
	entries, _ := slot.List(u.ESP.Path()) // what is damaged is no source
	for _, n := range []slot.Name{u.Self.Slot, u.Self.Slot.Other()} {
		i := slices.IndexFunc(entries, func(e slot.Entry) bool { return e.Slot == n })
		if i < 0 {
			continue
		}
		f, size, err := u.openPart(n, name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				u.Log.Warn("local source", "err", err)
			}
			continue
		}
		files = append(files, f)
		s := chunk.Source{Name: f.Name(), R: f, Size: size}
		s.Known, err = u.known(ctx, entries[i], name, s)
		if err != nil {
			u.Log.Warn("local source", "err", err)
			continue
		}
		sources = append(sources, s)
	}
	return sources, func() {
		for _, f := range files {
			f.Close() // was only read
		}
	}
}

// openPart opens what a slot has of a file of a release.
func (u *Updater) openPart(n slot.Name, name string) (*os.File, int64, error) {
	if name == release.RootFile {
		f, size, err := u.openRoot(n)
		if err != nil {
			return nil, 0, err
		}
		return f, used(f, size), nil
	}
	f, err := os.Open(filepath.Join(u.ESP.Path(), n.Dir(), name))
	if err != nil {
		return nil, 0, err
	}
	size, err := disk.Size(f)
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// used is how much of a partition a squashfs takes, with its hash tree behind it.
// The rest is not worth reading, and a partition without one holds nothing.
func used(r io.ReaderAt, size int64) int64 {
	b := make([]byte, 48)
	if _, err := r.ReadAt(b, 0); err != nil || string(b[:4]) != "hsqs" {
		return 0
	}
	n := int64(binary.LittleEndian.Uint64(b[40:]))
	if n < 0 || n > size {
		return 0
	}
	return min(size, n+n/64+1<<20) // the tree takes a 127th
}

// known returns the chunks of a slot's file. Cutting takes a small box a minute,
// so it is done once for each release that is in a slot.
func (u *Updater) known(ctx context.Context, e slot.Entry, name string, s chunk.Source) ([]chunk.Chunk, error) {
	dir := filepath.Join(u.State, "chunks")
	prefix := string(e.Slot) + "-" + name + "-"
	file := filepath.Join(dir, fmt.Sprintf("%s%x", prefix, sha256.Sum256(e.Body()))) // names the root's hash
	if b, err := os.ReadFile(file); err == nil {
		if i, err := chunk.Parse(b); err == nil && i.Size == s.Size {
			return i.Chunks, nil
		}
	}
	chunks, err := s.Cut(ctx)
	if err != nil {
		return nil, err
	}
	b, err := (&chunk.Index{Size: s.Size, Chunks: chunks}).MarshalBinary()
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, err
	}
	old, err := os.ReadDir(dir)
	for _, f := range old {
		if strings.HasPrefix(f.Name(), prefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	if err := errors.Join(err, durable.WriteFile(file, b, 0o644)); err != nil {
		u.Log.Warn("remember chunks", "err", err) // they are cut again
	}
	return chunks, nil
}
