package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// LargeFile is the name of the large file in demo-files.
const LargeFile = "large.iso"

// LargeSize is its size in bytes.
const LargeSize = 1 << 30

// odd are names that mirrors have stumbled over.
func odd() []string {
	return []string{
		"two words.txt", "100%.txt", "50%25.txt", "c++.txt", "backup~", "a:b.txt", "#hash?query=1&x.txt", "<b>bold.txt",
		`quote".txt`, "apostrophe's.txt", "back\\slash", "[brackets]*.txt", "-rf", "ünïcödé.txt", "latin1-\xe9\xff.txt",
		".hidden", "..dots", "trailing.", "semi;colon,comma", "plus+equals=at@.txt",
	}
}

func (b *builder) fillFiles(ctx context.Context, tree string) error {
	old := time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)
	var errs []error
	put := func(name string, mode fs.FileMode, mtime time.Time) {
		errs = append(errs, writeFile(filepath.Join(tree, name), []byte("This is "+name+".\n"), mode, mtime))
	}
	put("README.txt", 0o644, old)
	put("bin/script.sh", 0o755, old.AddDate(5, 0, 0))
	put("times/1980", 0o644, time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC))
	put("times/after-2038", 0o644, time.Date(2040, 2, 29, 12, 0, 0, 0, time.UTC))
	put("private/file", 0o640, old)
	put("unreadable.txt", 0o640, old)
	put("deep/1/2/3/4/5/6/7/8/9/bottom.txt", 0o644, old)
	put("hard/first", 0o644, old)
	for _, name := range odd() {
		put("names/"+name, 0o644, old.AddDate(10, 0, 0))
	}
	for i := range 400 {
		put(fmt.Sprintf("many/%02d/file-%03d.txt", i%20, i), 0o644, old.AddDate(0, 0, i))
	}
	at := func(name string) string { return filepath.Join(tree, name) }
	errs = append(errs, writeFile(at("empty.txt"), nil, 0o644, old),
		os.MkdirAll(at("empty-folder"), 0o755), os.MkdirAll(at("links"), 0o755), os.MkdirAll(at("hard/below"), 0o755),
		os.Link(at("hard/first"), at("hard/second")), os.Link(at("hard/first"), at("hard/below/third")),
		os.Symlink("../README.txt", at("links/relative")), os.Symlink("nowhere", at("links/broken")),
		os.Symlink("../names", at("links/folder")), os.Symlink("relative", at("links/chain")),
		os.Chmod(at("private"), 0o750))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := b.writeLarge(ctx, at(LargeFile)); err != nil {
		return err
	}
	return os.Chtimes(at("deep"), old, old)
}

// writeLarge writes the large file: bytes that do not compress, from a fixed seed.
func (b *builder) writeLarge(ctx context.Context, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	noise, block := rand.NewChaCha8([32]byte([]byte("micro mirror demo, large file 01"))), make([]byte, 1<<20)
	for done := int64(0); done < LargeSize; done += int64(len(block)) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		noise.Read(block) // never fails
		if _, err := w.Write(block); err != nil {
			return err
		}
		b.progress(Progress{Files, LargeFile, done, LargeSize})
	}
	return w.Flush()
}
