package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/chunk"
	"micromirror/packages/release"
)

const (
	releases    = "releases/"
	chunkSuffix = ".chunks"
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
	description, err := readFile(filepath.Join(dir, release.FileName), maxTarget)
	if err != nil {
		return nil, false, fmt.Errorf("add release: %w", err)
	}
	err = r.change(ctx, "add release "+rel.Version, func(s *set) error {
		old, err := r.described(s, rel.Version)
		if err != nil {
			return err
		}
		if old != nil && !bytes.Equal(old, description) {
			return fmt.Errorf("%s is published with other content, which nodes may run already: build again under a new version", rel.Version)
		}
		if old != nil {
			return nil
		}
		add, err := contents(dir, rel.Version)
		if err != nil {
			return err
		}
		added, err = r.publish(s, add, none)
		return err
	})
	return rel, added, err
}

// RemoveRelease takes a release out of the repository and removes its files. The
// one that nodes are to run stays.
func (r *Repository) RemoveRelease(ctx context.Context, version string) error {
	return r.change(ctx, "remove release", func(s *set) error {
		rels, err := r.releases(s)
		if err != nil {
			return err
		}
		folder := ReleaseTarget(version, "")
		files := filepath.Join(r.Dir, "targets", filepath.FromSlash(folder))
		if _, err := find(rels, version); err != nil && !leftOver(version, files) {
			return err
		}
		now, err := r.rollout(s)
		if err != nil && !errors.Is(err, ErrNoTarget) {
			return err
		}
		if now != nil && now.Version == version {
			return fmt.Errorf("%s is what the roll-out in force tells nodes to run: begin another one first", version)
		}
		if _, err := r.publish(s, nil, func(target string) bool { return strings.HasPrefix(target, folder) }); err != nil {
			return err
		}
		return os.RemoveAll(files)
	})
}

// leftOver reports whether a release's folder is what an interrupted removal, or
// addition, left.
func leftOver(version, folder string) bool {
	_, err := os.Stat(folder)
	return err == nil && targetForm.MatchString(version) && !strings.Contains(version, "/")
}

// described returns the description of a release that is there already.
func (r *Repository) described(s *set, version string) ([]byte, error) {
	target := ReleaseTarget(version, release.FileName)
	if _, ok := s.targets.Signed.Targets[target]; !ok {
		return nil, nil
	}
	return r.target(s, target)
}

// contents are the files of a release that travel. The template of /perm does
// not: a node has its own.
func contents(dir, version string) (map[string]source, error) {
	add := map[string]source{}
	for _, name := range []string{release.FileName, release.KernelFile, release.InitrdFile, release.RootFile, release.LoaderFile} {
		add[ReleaseTarget(version, name)] = fromFile(filepath.Join(dir, name))
	}
	for _, name := range []string{release.KernelFile, release.InitrdFile, release.RootFile} {
		index, err := chunks(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("chunk index of %s: %w", name, err)
		}
		add[ChunksTarget(version, name)] = fromBytes(index)
	}
	return add, nil
}

func chunks(file string) ([]byte, error) {
	f, err := fromFile(file)()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	index, err := chunk.Make(io.Reader(f))
	if err != nil {
		return nil, err
	}
	return index.MarshalBinary()
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
