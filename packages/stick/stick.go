// Package stick carries a node's configuration by hand, for a host who was given
// wrong addresses: no network leads to the node, so its corrected node file comes
// on a USB stick, as one file that also fits into a mail.
//
// The file, micromirror-<node>.tar, is the part of the update repository (package
// repository) that the node needs to believe its node file: the signed metadata,
// all roots of it, and the file itself. So the node judges it as it judges what
// comes over the air, by the same keys and the same memory of what it has seen:
// one that is older, altered, or for another node is refused, and whoever finds
// the stick can do no more with it than read what is public anyway. Nothing else
// is ever taken from a stick.
//
// Promise: Unpack accepts only what is bounded and has the names that belong there.
// The Watcher reads sticks only while the node's network does not work, mounts them
// read-only (FAT or exFAT, with or without a partition table), copies one file, and
// unmounts them before a byte of it is looked at. A stick is tried once for each
// time that it is put in; a broken one costs a bounded time.
//
// Files: <run>/updated/stick.json (a Report, for the console). No ports.
//
// Console: "stick: …" for each stick that was looked at.
package stick

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// MaxSize bounds the file on the stick.
const MaxSize = 4 << 20

// maxFiles bounds what is in it; a root for each change of keys, and a few more.
const maxFiles = 500

// Names of the file on the stick.
const (
	prefix = "micromirror-"
	suffix = ".tar"
)

// FileName is the name of the file for a node.
func FileName(node string) string { return prefix + node + suffix }

// Files is a part of an update repository, by path.
type Files map[string][]byte

// Collect takes from a repository folder what a node needs for one signed file.
func Collect(repository fs.FS, target string) (Files, error) {
	files := Files{}
	take := func(name string, v any) error {
		b, err := fs.ReadFile(repository, name)
		if err == nil && v != nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			return fmt.Errorf("update repository: %s: %w", name, err)
		}
		files[name] = b
		return nil
	}
	roots, err := fs.Glob(repository, "metadata/*.root.json")
	if err != nil {
		return nil, err
	}
	for _, name := range roots {
		if err := take(name, nil); err != nil {
			return nil, err
		}
	}
	var timestamp, snapshot, targets metadata
	if err := take("metadata/timestamp.json", &timestamp); err != nil {
		return nil, err
	}
	if err := take(fmt.Sprintf("metadata/%d.snapshot.json", timestamp.Signed.Meta["snapshot.json"].Version), &snapshot); err != nil {
		return nil, err
	}
	if err := take(fmt.Sprintf("metadata/%d.targets.json", snapshot.Signed.Meta["targets.json"].Version), &targets); err != nil {
		return nil, err
	}
	t, ok := targets.Signed.Targets[target]
	if !ok {
		return nil, fmt.Errorf("%s is not published", target)
	}
	dir, base := path.Split(target)
	return files, take("targets/"+dir+strings.ToLower(t.Hashes.SHA256)+"."+base, nil)
}

// metadata is what Collect needs to know of the repository's files. Whether they
// are signed is for the node to find out.
type metadata struct {
	Signed struct {
		Meta map[string]struct {
			Version int64 `json:"version"`
		} `json:"meta"`
		Targets map[string]struct {
			Hashes struct {
				SHA256 string `json:"sha256"`
			} `json:"hashes"`
		} `json:"targets"`
	} `json:"signed"`
}

// Pack makes the file for the stick.
func Pack(files Files) ([]byte, error) {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o644, Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if b.Len() > MaxSize {
		return nil, fmt.Errorf("%d bytes are more than a node reads from a stick (%d): remove old releases from the repository", b.Len(), MaxSize)
	}
	return b.Bytes(), nil
}

// Unpack reads the file.
func Unpack(b []byte) (Files, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("has more than %d bytes", MaxSize)
	}
	files := Files{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("damaged: %w", err)
		}
		if err := admit(h, files); err != nil {
			return nil, err
		}
		content, err := io.ReadAll(io.LimitReader(r, MaxSize))
		if err != nil {
			return nil, fmt.Errorf("damaged: %w", err)
		}
		files[h.Name] = content
	}
	if len(files) == 0 {
		return nil, errors.New("is empty")
	}
	return files, nil
}

// admit judges an entry before it is read.
func admit(h *tar.Header, files Files) error {
	known := strings.HasPrefix(h.Name, "metadata/") || strings.HasPrefix(h.Name, "targets/config/")
	_, twice := files[h.Name]
	switch {
	case h.Typeflag != tar.TypeReg || !known || !fs.ValidPath(h.Name) || twice:
		return fmt.Errorf("%q does not belong there", h.Name)
	case h.Size > MaxSize: // sparse files say what they like
		return fmt.Errorf("%q has more than %d bytes", h.Name, MaxSize)
	case len(files) >= maxFiles:
		return fmt.Errorf("has more than %d files", maxFiles)
	}
	return nil
}
