package verify

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"path"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// unreadable is the cost of what cannot be decompressed here.
const unreadable = 4

// cost orders compressions by the time that reading them takes.
func cost(name string) int {
	switch path.Ext(name) {
	case "":
		return 0
	case ".gz":
		return 1
	case ".zst":
		return 2
	case ".xz":
		return 3
	}
	return unreadable
}

// maxPlain bounds what an index decompresses to.
const maxPlain = 4 << 30

// decompress returns the plain text of a file with that name.
func decompress(name string, r io.Reader) (io.ReadCloser, error) {
	var plain io.Reader
	var err error
	closer := func() error { return nil }
	switch r = bufio.NewReaderSize(r, 1<<16); path.Ext(name) {
	case ".gz":
		plain, err = gzip.NewReader(r)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderMaxMemory(128<<20), zstd.WithDecoderConcurrency(1)); err == nil {
			plain, closer = d, func() error { d.Close(); return nil }
		}
	case ".xz":
		plain, err = xz.NewReader(r)
	default:
		plain = r
	}
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return &plainReader{io.LimitReader(plain, maxPlain), closer}, nil
}

type plainReader struct {
	io.Reader
	close func() error
}

func (p *plainReader) Close() error { return p.close() }
