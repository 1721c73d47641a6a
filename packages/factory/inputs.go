package factory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/durable"
	"micromirror/packages/release"
)

// InputsFile holds the hash of everything that the last build was made from, in
// the release folder.
const InputsFile = "inputs.sha256"

// sources hashes what this repository and the Go installation give to a build:
// the version, the tags, the go command's settings, and every file that git tracks
// or would track, but for those that cannot get into an image.
func (b *build) sources(ctx context.Context) (string, error) {
	h := sha256.New()
	goEnv, err := b.output(ctx, "go", "env", "GOVERSION", "GOFLAGS", "GOEXPERIMENT", "GOWORK")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(h, "%q %q %q %q\n", b.version, b.Tags, goEnv, b.Firmware)
	names, err := b.output(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-per-directory=.gitignore")
	if err != nil {
		return "", err
	}
	for name := range strings.SplitSeq(names, "\x00") {
		if !isInput(name) {
			continue
		}
		if err := hashInput(h, b.Repository, name); err != nil {
			return "", fmt.Errorf("hash the sources: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// isInput tells what may get into an image from what cannot.
func isInput(name string) bool {
	switch top, _, _ := strings.Cut(name, "/"); top {
	case "", ".ci", "docs", "images", "Makefile":
		return false
	}
	return !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, ".md") && !strings.Contains(name, "/testdata/")
}

// hashInput adds a file's name, kind and content. A file that git lists and that
// is not there was removed, which the lack of its name tells.
func hashInput(h io.Writer, repository, name string) error {
	path := filepath.Join(repository, name)
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var content []byte
	switch {
	case st.Mode().IsRegular():
		content, err = os.ReadFile(path)
	case st.Mode().Type() == fs.ModeSymlink:
		var target string
		target, err = os.Readlink(path)
		content = []byte(target)
	}
	fmt.Fprintf(h, "%q %v %x\n", name, st.Mode(), sha256.Sum256(content))
	return err
}

// hostCertificates are the authorities that gok copies from the build host.
const hostCertificates = "/etc/ssl/certs/ca-certificates.crt"

// inputs adds what was fetched, and what comes from this computer, to the hash of
// the sources.
func (b *build) inputs(sources string) (string, error) {
	record, err := os.ReadFile(filepath.Join(b.debianDir(), "pool", "packages.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("record of Debian packages: %w", err)
	}
	certificates, err := os.ReadFile(hostCertificates)
	if err != nil {
		return "", fmt.Errorf("certificate authorities: %w", err)
	}
	return fmt.Sprintf("%x\n", sha256.Sum256(slices.Concat([]byte(sources), record, certificates))), nil
}

// upToDate says whether the release in Out was made from the same inputs and is
// whole.
func (b *build) upToDate(ctx context.Context, sources string) (bool, error) {
	was, err := os.ReadFile(filepath.Join(b.Out(), InputsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	is, err := b.inputs(sources)
	if err != nil || string(was) != is {
		return false, err
	}
	_, err = release.Verify(ctx, b.Out())
	return err == nil, ctx.Err()
}

// seal notes what the release was made from, last of all.
func (b *build) seal(sources string) error {
	is, err := b.inputs(sources)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(b.Out(), InputsFile), []byte(is), 0o644)
}
