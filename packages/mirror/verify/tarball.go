package verify

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxMember bounds one file of a tarball that is kept in memory.
const maxMember = 64 << 20

// pacmanDB reports whether a name is that of a repository's package database.
// A database that is a link is checked where it leads to.
func pacmanDB(base string) bool {
	stem, packed, _ := strings.Cut(base, ".tar.")
	return strings.HasSuffix(stem, ".db") && !strings.Contains(packed, ".")
}

// database checks a database of pacman: a tarball with a file desc for each
// package, which names the package's file with its size and sum.
func (in *Input) database(i int) error {
	dir := path.Dir(in.List.Name(i))
	return in.members(i, func(name string, content []byte) error {
		if path.Base(name) != "desc" {
			return nil
		}
		r, err := parseDesc(content)
		if err != nil {
			return fmt.Errorf("%.200q: %w", name, err)
		}
		if r.name, err = within(dir, r.name); err != nil {
			return err
		}
		_, err = in.need(r)
		return err
	})
}

// parseDesc reads a file of fields: a line %NAME%, then its values, then an
// empty line.
func parseDesc(content []byte) (reference, error) {
	r := reference{size: -1}
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, maxMember)
	for lines.Scan() {
		field := lines.Text()
		if !strings.HasPrefix(field, "%") || !lines.Scan() {
			continue
		}
		value := strings.TrimSpace(lines.Text())
		switch field {
		case "%FILENAME%":
			r.name = value
		case "%SHA256SUM%":
			r.sha256 = strings.ToLower(value)
		case "%CSIZE%":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return r, fmt.Errorf("size %.40q is no number", value)
			}
			r.size = n
		}
	}
	if err := lines.Err(); err != nil {
		return r, err
	}
	if r.name == "" {
		return r, errors.New("names no file")
	}
	return r, nil
}

// apkIndex checks an index of apk: a tarball with a file APKINDEX, which holds a
// stanza for each package. The sum there is that of a part of the package, so
// only its size can be compared.
func (in *Input) apkIndex(i int) error {
	dir := path.Dir(in.List.Name(i))
	return in.members(i, func(name string, content []byte) error {
		if name != "APKINDEX" {
			return nil
		}
		return parseAPKINDEX(content, func(r reference) error {
			full, err := within(dir, r.name)
			if err != nil {
				return err
			}
			_, err = in.need(reference{name: full, size: r.size})
			return err
		})
	})
}

// parseAPKINDEX hands each package that is named to use.
func parseAPKINDEX(content []byte, use func(reference) error) error {
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, maxMember)
	var pkg, version string
	size := int64(-1)
	flush := func() error {
		if pkg == "" {
			return nil
		}
		err := use(reference{name: pkg + "-" + version + ".apk", size: size})
		pkg, version, size = "", "", -1
		return err
	}
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch key {
		case "":
			if err := flush(); err != nil {
				return err
			}
		case "P":
			pkg = value
		case "V":
			version = value
		case "S":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("size %.40q is no number", value)
			}
			size = n
		}
	}
	return errors.Join(lines.Err(), flush())
}

// members hands every regular file of the tarball i to use, unless nothing is to
// be known of the content that such a database names.
func (in *Input) members(i int, use func(name string, content []byte) error) error {
	if in.shallow {
		return nil
	}
	f, err := in.Open(i)
	if err != nil {
		return err
	}
	defer f.Close()
	plain, err := detect(f)
	if err != nil {
		return err
	}
	defer plain.Close()
	return eachMember(plain, use)
}

func eachMember(r io.Reader, use func(name string, content []byte) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read tarball: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > maxMember {
			return fmt.Errorf("read tarball: %.200q has %d bytes", h.Name, h.Size)
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return fmt.Errorf("read tarball: %w", err)
		}
		if err := use(h.Name, content); err != nil {
			return err
		}
	}
}

// detect decompresses what tells its kind by its first bytes: a database has the
// same name in whatever compression.
func detect(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	var plain io.Reader = b
	closer := func() error { return nil }
	err = nil
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(b) // of several members, as apk makes them
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var d *zstd.Decoder
		if d, err = zstd.NewReader(b, zstd.WithDecoderMaxMemory(128<<20), zstd.WithDecoderConcurrency(1)); err == nil {
			plain, closer = d, func() error { d.Close(); return nil }
		}
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		plain, err = xz.NewReader(b)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return &plainReader{io.LimitReader(plain, maxPlain), closer}, nil
}
