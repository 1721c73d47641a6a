// Package seed lays mirror trees that exist already onto a new node's disk, at the
// speed of disks: a first fill over the network takes a day.
//
// The trees are below one folder, each by its project's path or name, as in the
// web root of another mirror. They need not be fresh, only mostly right: the
// node's first sync fetches what differs, and until it has, the node serves none
// of it, because a copy that was taken while it changed may be half one state and
// half another. Sync judges by size and time as ever, so times are kept.
//
// Promise: Scan refuses a folder that holds what the node does not mirror, and a
// link that leads out of its tree, with name and remedy; what a project leaves out
// is left out here, too. Nothing outside the trees is read. A tree that does not
// fit is refused before the disk is touched, and one that changes while it is
// copied fails the copy. Everything is owned and moded as sync would have left
// it. Neither root nor mounts are needed: the file system is made by package ext4.
//
// Files read: the trees. Files written: the partition that is asked for, and a
// temporary folder for what describes it, about a thousandth of the trees, until
// Close.
package seed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"micromirror/packages/disk/image"
	"micromirror/packages/ext4"
	"micromirror/packages/layout"
	"micromirror/packages/mirror/publish"
	"micromirror/packages/mirror/tree"
	"micromirror/packages/perm"
	"micromirror/packages/project"
)

// Part is one project's tree.
type Part struct {
	Project string `json:"project"`
	Files   int64  `json:"files"`
	Bytes   int64  `json:"bytes"`

	root *tree.Root
	node int // of its top
}

// Seed is what goes onto a disk. It is used for one disk.
type Seed struct {
	Parts []Part

	nodes  []ext4.Node
	parts  []int32 // of each node, 1 more than the index; 0 for what has none
	filled *perm.Filled
	dir    string // of the image, temporary
	spans  []ext4.Span
	sums   []sum
}

var _ image.Storage = (*Seed)(nil)

// Open looks at the trees of the node's projects below dir. Close the seed.
func Open(ctx context.Context, dir string, projects []project.Project) (*Seed, error) {
	s := new(Seed)
	if err := s.look(ctx, dir, projects); err != nil {
		return nil, errors.Join(fmt.Errorf("seed %s: %w", dir, err), s.Close())
	}
	return s, nil
}

func (s *Seed) look(ctx context.Context, dir string, projects []project.Project) error {
	if err := strangers(dir, projects); err != nil {
		return err
	}
	s.frame()
	mirror := s.folder(ext4.Root, filepath.Base(layout.MirrorDir), 0o755, layout.SyncD)
	stage := s.folder(ext4.Root, filepath.Base(layout.StageDir), 0o700, layout.SyncD)
	for i := range projects {
		p := &projects[i]
		source, err := find(dir, p)
		if err != nil {
			return err
		}
		if source == "" {
			continue
		}
		if err := s.take(ctx, source, p, mirror); err != nil {
			return err
		}
		// The tree is not whole before a run has found it so.
		private := s.folder(stage, p.Name, 0o700, layout.SyncD)
		s.add(ext4.Node{Name: publish.TornFile, Parent: private, Mode: fileType | 0o600, UID: layout.SyncD, GID: layout.SyncD}, 0)
	}
	if len(s.Parts) == 0 {
		return fmt.Errorf("none of the node's projects is in it (%s); give the folder that holds theirs", strings.Join(names(projects), ", "))
	}
	return nil
}

// frame adds what every /perm holds.
func (s *Seed) frame() {
	s.add(ext4.Node{Mode: dirType | 0o755}, 0)
	folder := s.folder(ext4.Root, filepath.Dir(layout.LogTargetFile), 0o755, 0)
	s.add(ext4.Node{Name: filepath.Base(layout.LogTargetFile), Parent: folder, Mode: fileType | 0o644, Size: int64(len(logTarget))}, 0)
}

const logTarget = layout.LogAddress + "\n"

func (s *Seed) add(n ext4.Node, part int32) int {
	s.nodes, s.parts = append(s.nodes, n), append(s.parts, part)
	return len(s.nodes) - 1
}

// folder adds a folder of the node's, unless it is there.
func (s *Seed) folder(parent int, name string, perm, owner uint32) int {
	for i := range s.nodes {
		if s.nodes[i].Parent == parent && s.nodes[i].Name == name && s.parts[i] == 0 {
			return i
		}
	}
	return s.add(ext4.Node{Name: name, Parent: parent, Mode: dirType | perm, UID: owner, GID: owner}, 0)
}

// Close ends the use of the trees, and removes the temporary folder.
func (s *Seed) Close() error {
	var errs []error
	for i := range s.Parts {
		errs = append(errs, s.Parts[i].root.Close())
	}
	if s.filled != nil {
		errs = append(errs, s.filled.File.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// Bytes is the size of all files.
func (s *Seed) Bytes() (sum int64) {
	for _, p := range s.Parts {
		sum += p.Bytes
	}
	return sum
}

// Prepare makes the file system for a partition of size bytes; it says so if that
// has no room.
func (s *Seed) Prepare(ctx context.Context, size int64) (err error) {
	if s.filled != nil {
		return errors.New("a seed is for one disk")
	}
	if s.dir, err = os.MkdirTemp("", "micromirror-seed"); err != nil {
		return err
	}
	s.filled, err = perm.NewFilled(ctx, filepath.Join(s.dir, "perm.ext4"), size, ext4.NeedOf(s.nodes))
	if err != nil {
		return fmt.Errorf("seed of %d MiB: %w", s.Bytes()>>20, err)
	}
	return nil
}

// Size is how much of the partition is written and read back.
func (s *Seed) Size() int64 { return s.filled.Size }

// Write copies the trees to a partition of size bytes.
func (s *Seed) Write(ctx context.Context, t perm.Target, size int64) error {
	if err := s.filled.Clear(t, size); err != nil {
		return err
	}
	spans, err := ext4.Fill(ctx, ext4.Job{Image: s.filled.File, Content: &summing{s: s, t: t}, Nodes: s.nodes, Open: s.open})
	if err != nil {
		return fmt.Errorf("copy the trees: %w", err)
	}
	s.spans = spans
	if err := s.filled.Finish(ctx); err != nil {
		return fmt.Errorf("copy the trees: %w", err)
	}
	return s.filled.Place(ctx, t, spans)
}

// open opens a file for copying; it must still be what was found.
func (s *Seed) open(i int) (io.ReadCloser, error) {
	if s.parts[i] == 0 {
		return io.NopCloser(strings.NewReader(logTarget)), nil
	}
	part, n := &s.Parts[s.parts[i]-1], &s.nodes[i]
	name := s.within(i, part.node)
	now, err := part.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if now.Size != n.Size || now.Sec != n.Sec || now.Nsec != n.Nsec {
		return nil, fmt.Errorf("%s changed while it was copied; stop its sync, and write the disk again", filepath.Join(part.root.Name(), name))
	}
	return part.root.OpenFile(name)
}

// within is the path of a node below another.
func (s *Seed) within(i, top int) string {
	if s.nodes[i].Parent == top {
		return s.nodes[i].Name
	}
	return s.within(s.nodes[i].Parent, top) + "/" + s.nodes[i].Name
}
