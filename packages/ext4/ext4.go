// Package ext4 puts files into an empty ext4 file system without mounting it, so
// that it takes neither root nor a kernel that knows ext4.
//
// Fill works on what mke2fs made, in an image file that may be sparse: all that
// describes the files goes there. Their content goes straight to where it will
// lie, once and at rising offsets, so that a disk is filled at its own speed.
// Whoever calls copies the image to the disk afterwards, around the content.
//
// Promise: e2fsck finds nothing to say about what Fill leaves. Type, permissions,
// owner, modification time and content of each node are as given, further names
// of a file share its inode, and files lie in as few pieces as they can. When it
// fails the image is of no use, and no more.
//
// Limits: blocks of 4 KiB, inodes of 256 bytes, metadata checksums with a stored
// seed, no meta_bg (that is, at most 8 TiB), a file of at most 1,360 pieces of
// 128 MiB. Directories are a plain list of names, in the order of the nodes;
// "e2fsck -D" indexes large ones.
package ext4

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// BlockSize is the only size of a block.
const BlockSize = 4096

// Root is the index of the node that stands for the root directory.
const Root = 0

// Node is a directory, regular file or symbolic link.
type Node struct {
	Name   string
	Parent int // index of its directory, which comes before it
	// Same is the index of the node of which this is a further name, which comes
	// before it; Root for what has an inode of its own.
	Same     int
	Mode     uint32 // type and permissions as in struct stat
	UID, GID uint32
	Sec      int64 // modification time
	Nsec     uint32
	Size     int64  // of a file
	Target   string // of a symbolic link
}

// Image is what mke2fs made.
type Image interface {
	io.ReaderAt
	io.WriterAt
}

// Job is what Fill does.
type Job struct {
	Image Image
	// Content takes the content of files, at their offsets in the file system.
	Content io.WriterAt
	// Nodes are what to make; the first stands for the root directory, of which
	// nothing is changed but what it holds.
	Nodes []Node
	// Open opens the content of a node. What it gives must have the node's size.
	Open func(i int) (io.ReadCloser, error)
}

// ErrFull says that there are not enough blocks or inodes.
var ErrFull = errors.New("the file system is full")

// filler carries out one job.
type filler struct {
	*Job
	ctx    context.Context
	super  super
	groups []group
	blocks allocator

	inodes []uint32 // of each node
	links  []uint32
	kids   [][]int32 // of each directory
	spans  []Span
	buf    []byte
}

// Fill makes the nodes. It returns where content lies, in rising order.
func Fill(ctx context.Context, j Job) ([]Span, error) {
	f := &filler{Job: &j, ctx: ctx, buf: make([]byte, 1<<20)}
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("fill file system: %w", err)
	}
	if err := f.number(); err != nil {
		return nil, fmt.Errorf("fill file system: %w", err)
	}
	// Directories and links first: the content is then in one piece, nearly.
	for _, kind := range []uint32{typeDir, typeLink, typeFile} {
		for i := range j.Nodes {
			if j.Nodes[i].Mode&typeMask != kind || j.Nodes[i].Same != Root {
				continue
			}
			if err := f.make(i, kind); err != nil {
				return nil, fmt.Errorf("%s: %w", f.path(i), err)
			}
		}
	}
	if err := f.store(); err != nil {
		return nil, fmt.Errorf("fill file system: %w", err)
	}
	return f.spans, nil
}

func (f *filler) make(i int, kind uint32) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	switch kind {
	case typeDir:
		return f.directory(i)
	case typeLink:
		return f.link(i)
	default:
		return f.file(i)
	}
}

// number gives each node its inode, and counts names.
func (f *filler) number() error {
	n := len(f.Nodes)
	if n == 0 || f.Nodes[Root].Mode&typeMask != typeDir {
		return errors.New("the first node is not the root directory")
	}
	f.inodes, f.links, f.kids = make([]uint32, n), make([]uint32, n), make([][]int32, n)
	f.inodes[Root] = rootInode
	next := f.super.firstInode
	for i := 1; i < n; i++ {
		node := &f.Nodes[i]
		if err := f.plausible(i); err != nil {
			return fmt.Errorf("node %d, %q: %w", i, node.Name, err)
		}
		f.kids[node.Parent] = append(f.kids[node.Parent], int32(i))
		if node.Same != Root {
			f.inodes[i] = f.inodes[node.Same]
			f.links[node.Same]++
			continue
		}
		f.inodes[i] = next
		next++
		f.links[i]++
		if node.Mode&typeMask == typeDir {
			f.links[i]++ // its own "."
			f.links[node.Parent]++
		}
	}
	if next-1 > f.super.inodes {
		return fmt.Errorf("%w: %d inodes are needed, it has %d", ErrFull, next-1, f.super.inodes)
	}
	return f.markInodes(next - 1)
}

// plausible checks what the rest relies on.
func (f *filler) plausible(i int) error {
	n := &f.Nodes[i]
	switch {
	case n.Parent < 0 || n.Parent >= i || f.Nodes[n.Parent].Mode&typeMask != typeDir:
		return errors.New("it has no directory")
	case n.Name == "" || n.Name == "." || n.Name == ".." || len(n.Name) > maxName || !cleanName(n.Name):
		return errors.New("it has an impossible name")
	case n.Same < 0 || n.Same >= i || n.Same != Root && (f.Nodes[n.Same].Mode&typeMask == typeDir || f.Nodes[n.Same].Same != Root):
		return errors.New("it is a further name of nothing")
	case n.Size < 0:
		return errors.New("it has no size")
	}
	switch n.Mode & typeMask {
	case typeDir, typeLink, typeFile:
		return nil
	}
	return fmt.Errorf("mode %o is neither directory, file nor link", n.Mode)
}

// path is the node's name for people.
func (f *filler) path(i int) string {
	if i == Root {
		return ""
	}
	return f.path(f.Nodes[i].Parent) + "/" + f.Nodes[i].Name
}
