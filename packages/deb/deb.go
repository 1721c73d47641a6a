// Package deb fetches named Debian packages for the image and unpacks them.
//
// Promise: what Fetch returns was named by a Release file with a valid Debian
// signature and has the hash that this file leads to; apt does the checking,
// with its insecure modes switched off. Nothing outside Options.Dir is written:
// apt gets its own lists, cache and (empty) dpkg status there, so that neither
// root nor the machine's own package state is involved.
//
// The archive's address comes from the machine's own apt configuration (both
// formats of sources.list), as do proxy settings; no host name is built in.
// Works with the apt of Debian 12 and 13 whatever suite is asked for.
//
// Files owned: Options.Dir, that is one folder per suite with apt's state, and
// pool/ with the packages and packages.json, their record. A package that the
// record names is not asked for again unless Options.Refresh is set, so a later
// build neither needs nor touches the network.
//
// Failure: the error names suite and package and carries apt's own last words.
package deb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/durable"
)

// Want names a package of a suite.
type Want struct {
	Suite string // "trixie", "sid", …
	Name  string
	// Depends, if set, means: not Name itself (a metapackage), but the package
	// it depends on whose name begins so.
	Depends string
	// MinVersion refuses anything older, in Debian's order of versions.
	MinVersion string
	// Component is where the suite has it; empty is "main".
	Component string
}

// Package is a package on this machine's disk.
type Package struct {
	Suite   string `json:"suite"`
	Wanted  string `json:"wanted"` // the name asked for: Want.Name
	Name    string `json:"name"`
	Version string `json:"version"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
	File    string `json:"file"` // base name in pool/; Path has the whole
	Path    string `json:"-"`
}

// Progress is one step of a download.
type Progress struct {
	Suite   string
	Step    string  // "lists" or "packages"
	Percent float64 // of this step
	Message string  // apt's own words
}

// Options says where and how to fetch.
type Options struct {
	Dir      string // private state and cache, created if missing
	Want     []Want
	Refresh  bool           // ask the archive for newer versions
	Progress func(Progress) // may be nil
	Log      *slog.Logger   // may be nil

	// For tests, and for machines that are not Debian: where apt's
	// configuration is (default /etc/apt), an archive address that overrides
	// it, and the keyring (default: the one of debian-archive-keyring).
	EtcApt  string
	Archive string
	Keyring string
}

// Fetch returns the wanted packages in the order asked, from the cache or from
// the archive.
func Fetch(ctx context.Context, o Options) ([]Package, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	pool := filepath.Join(o.Dir, "pool")
	if err := os.MkdirAll(pool, 0o755); err != nil {
		return nil, fmt.Errorf("package cache: %w", err)
	}
	record := filepath.Join(pool, "packages.json")
	known, err := readRecord(record)
	if err != nil {
		return nil, err
	}
	found := make([]Package, len(o.Want))
	missing := map[string][]int{} // by suite
	for i, w := range o.Want {
		p, err := lookUp(known, w, pool)
		if o.Refresh || err != nil {
			missing[w.Suite] = append(missing[w.Suite], i)
			continue
		}
		found[i] = p
	}
	for suite, idx := range missing {
		if err := fetchSuite(ctx, o, suite, idx, pool, found); err != nil {
			return nil, err
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	return found, writeRecord(record, known, found)
}

func (o *Options) defaults() error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.EtcApt == "" {
		o.EtcApt = "/etc/apt"
	}
	dir, err := filepath.Abs(o.Dir) // apt takes relative names as relative to its own Dir
	o.Dir = dir
	return err
}

// errNotCached says that the archive must be asked.
var errNotCached = errors.New("not in the cache")

// lookUp finds a want in the record and checks the file against it.
func lookUp(known []Package, w Want, pool string) (Package, error) {
	i := slices.IndexFunc(known, func(p Package) bool { return p.Suite == w.Suite && p.Wanted == w.Name })
	if i < 0 {
		return Package{}, errNotCached
	}
	p := known[i]
	p.Path = filepath.Join(pool, p.File)
	if err := checkVersion(w, p.Version); err != nil {
		return Package{}, err
	}
	sum, size, err := hashFile(p.Path)
	if err != nil {
		return Package{}, err
	}
	if sum != p.SHA256 || size != p.Size {
		return Package{}, fmt.Errorf("%s: changed since it was fetched", p.Path)
	}
	return p, nil
}

// checkVersion holds version against the want's minimum.
func checkVersion(w Want, version string) error {
	if w.MinVersion == "" {
		return nil
	}
	err := exec.Command("dpkg", "--compare-versions", version, "ge", w.MinVersion).Run()
	if _, older := errors.AsType[*exec.ExitError](err); older {
		return fmt.Errorf("%s in %s: version %s is older than the %s needed", w.Name, w.Suite, version, w.MinVersion)
	}
	if err != nil {
		return fmt.Errorf("compare versions: %w", err)
	}
	return nil
}

func readRecord(path string) ([]Package, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var known []Package
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to fetch anew", path, err)
	}
	for _, p := range known {
		if p.File != filepath.Base(p.File) {
			return nil, fmt.Errorf("%s: file name %q is a path; remove the record to fetch anew", path, p.File)
		}
	}
	return known, nil
}

// writeRecord replaces what known says about the packages found.
func writeRecord(path string, known, found []Package) error {
	known = slices.DeleteFunc(known, func(k Package) bool {
		return slices.ContainsFunc(found, func(p Package) bool { return p.Suite == k.Suite && p.Wanted == k.Wanted })
	})
	known = append(known, found...)
	slices.SortFunc(known, func(a, b Package) int { return strings.Compare(a.Suite+" "+a.Wanted, b.Suite+" "+b.Wanted) })
	b, err := json.MarshalIndent(known, "", "\t")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(b, '\n'), 0o644)
}

func hashFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
