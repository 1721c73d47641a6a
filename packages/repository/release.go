package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"micromirror/packages/chunk"
	"micromirror/packages/release"
)

const (
	releases    = "releases/"
	chunkSuffix = ".chunks"
	maxAhead    = time.Hour // of the time at which a release was built
)

// ReleaseTarget is the path of a file of a release.
func ReleaseTarget(version, file string) string { return releases + version + "/" + file }

// ChunksTarget is the path of the chunk index of a file of a release.
func ChunksTarget(version, file string) string { return ReleaseTarget(version, file) + chunkSuffix }

// AddRelease publishes the release in a folder. The same release again changes
// nothing; another of the same version is refused.
func (r *Repository) AddRelease(ctx context.Context, dir string) (rel *release.Release, added bool, err error) {
	rel, err = release.Verify(ctx, dir)
	if err != nil {
		return nil, false, err
	}
	if ahead := rel.Built.Sub(r.now()); ahead > maxAhead {
		// Its nodes would find everything that is signed now expired.
		return nil, false, fmt.Errorf("add release %s: it was built %s from now: set the clock of the computer that builds, and build again", rel.Version, ahead.Round(time.Minute))
	}
	description, err := readFile(filepath.Join(dir, release.FileName), maxTarget)
	if err != nil {
		return nil, false, fmt.Errorf("add release: %w", err)
	}
	err = r.change(ctx, "add release "+rel.Version, func(s *set) error {
		old, err := r.description(s, rel.Version)
		if err != nil {
			return err
		}
		if old != nil && !bytes.Equal(old, description) {
			return fmt.Errorf("%s is published with other content, which nodes may run already: build again under a new version", rel.Version)
		}
		if old != nil {
			return nil
		}
		add, err := contents(dir, description)
		if err != nil {
			return err
		}
		added, err = r.publish(s, add, none)
		return err
	})
	return rel, added, err
}

// RemoveRelease takes a release out of the repository. The one that nodes are to
// run stays. Its files go, by a later Renew, when the metadata that names them has
// expired: nodes may be in the middle of them.
func (r *Repository) RemoveRelease(ctx context.Context, version string) error {
	return r.change(ctx, "remove release", func(s *set) error {
		rels, err := r.releases(s)
		if err != nil {
			return err
		}
		if _, err := find(rels, version); err != nil {
			return err
		}
		now, err := r.rollout(s)
		if err != nil && !errors.Is(err, ErrNoTarget) {
			return err
		}
		if now != nil && now.Version == version {
			return fmt.Errorf("%s is what the roll-out in force tells nodes to run: begin another one first", version)
		}
		folder := ReleaseTarget(version, "")
		if _, err := r.publish(s, nil, func(target string) bool { return strings.HasPrefix(target, folder) }); err != nil {
			return err
		}
		return r.prune(s)
	})
}

// description returns the description of a release that is there already.
func (r *Repository) description(s *set, version string) ([]byte, error) {
	target := ReleaseTarget(version, release.FileName)
	if _, ok := s.targets.Signed.Targets[target]; !ok {
		return nil, nil
	}
	return r.target(s, target)
}

// contents are the files of a release that travel. The template of /perm does
// not: a node has its own.
func contents(dir string, description []byte) (map[string]source, error) {
	rel, err := release.Parse(description)
	if err != nil {
		return nil, err
	}
	add := map[string]source{ReleaseTarget(rel.Version, release.FileName): fromBytes(description)}
	for _, f := range []release.File{rel.Kernel, rel.Initrd, rel.Root.File, rel.Loader.File} {
		from := exactly(filepath.Join(dir, f.Name), f.SHA256)
		add[ReleaseTarget(rel.Version, f.Name)] = from
		if f.Name == release.LoaderFile {
			continue
		}
		index, err := chunks(from)
		if err != nil {
			return nil, fmt.Errorf("chunk index of %s: %w", f.Name, err)
		}
		add[ChunksTarget(rel.Version, f.Name)] = fromBytes(index)
	}
	return add, nil
}

func chunks(from source) ([]byte, error) {
	f, err := from()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	index, err := chunk.Make(f)
	if err != nil {
		return nil, err
	}
	return index.MarshalBinary()
}

// exactly is a file that must still be what its description says each time that
// it is read: a build may be under way in its folder.
func exactly(file, sum string) source {
	return func() (io.ReadCloser, error) {
		f, err := os.Open(file)
		return &described{File: f, hash: sha256.New(), sum: sum}, err
	}
}

type described struct {
	*os.File
	hash hash.Hash
	sum  string
}

// WriteTo hides that of the file, which would be read past the check.
func (d *described) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{d})
}

func (d *described) Read(b []byte) (int, error) {
	n, err := d.File.Read(b)
	d.hash.Write(b[:n]) // never fails
	if err == io.EOF && hex.EncodeToString(d.hash.Sum(nil)) != d.sum {
		err = fmt.Errorf("%s changes while it is published; publish when its build has ended", d.Name())
	}
	return n, err
}

// Releases returns the releases that are published, oldest first.
func (r *Repository) Releases() ([]release.Release, error) {
	s, err := r.load()
	if err != nil {
		return nil, err
	}
	return r.releases(s)
}

// Release returns one published release.
func (r *Repository) Release(version string) (*release.Release, error) {
	rels, err := r.Releases()
	if err != nil {
		return nil, err
	}
	return find(rels, version)
}

// find picks a release by its version.
func find(rels []release.Release, version string) (*release.Release, error) {
	var known []string
	for i := range rels {
		if rels[i].Version == version {
			return &rels[i], nil
		}
		known = append(known, rels[i].Version)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf(`release %q is not published; there is none: add one with "mirrorctl release"`, version)
	}
	return nil, fmt.Errorf("release %q is not published; there are: %s", version, strings.Join(known, ", "))
}

func (r *Repository) releases(s *set) ([]release.Release, error) {
	var out []release.Release
	for _, target := range slices.Sorted(maps.Keys(s.targets.Signed.Targets)) {
		if !strings.HasPrefix(target, releases) || path.Base(target) != release.FileName {
			continue
		}
		data, err := r.target(s, target)
		if err != nil {
			return nil, err
		}
		rel, err := release.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", target, err)
		}
		out = append(out, *rel)
	}
	slices.SortStableFunc(out, func(a, b release.Release) int { return a.Built.Compare(b.Built) })
	return out, nil
}
