// Package module tells the rsync daemon what to offer: the modules of the
// projects that a node hosts, by their contractual names.
//
// Promise: a client gets a tree as one publish left it, not half of the next. A
// list is read while nothing is being replaced, and again after each publish; a
// client whose list is older than the tree gets the index files of that list as
// long as they are kept (package edition); a project whose publish was interrupted
// is busy until it is whole.
//
// Files: reads the web root, its editions and the states of syncd. No ports.
package module

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"micromirror/packages/mirror/edition"
	"micromirror/packages/mirror/status"
	"micromirror/packages/node"
	"micromirror/packages/project"
	rsync "micromirror/packages/rsync/daemon"
)

// excludes are what no mirror offers: snapshots of the file system, unfinished
// transfers, private folders, remains of NFS.
var excludes = [...]string{".snapshot/", ".~tmp~/", "/.private/", "**/.nfs*"}

// List lists the node's modules. root is the web root, states the directory of the
// projects' states.
func List(config *node.Config, root, states string) []rsync.Module {
	var out []rsync.Module
	editions := edition.Archive{Dir: filepath.Join(root, edition.Folder)}
	for _, m := range config.Modules() {
		path := filepath.Join(root, m.Path)
		out = append(out, rsync.Module{
			Name: m.Name, Comment: cmp.Or(m.Comment, titleOf(config, m.Name)), Path: path, Exclude: excludes[:],
			Generation: generation(path, states, projectsIn(config, m.Path)),
			Steady: func(ctx context.Context, read func() error) error {
				err := editions.Steady(ctx, m.Path, read)
				if errors.Is(err, edition.ErrBusy) {
					err = fmt.Errorf("%w: %w", rsync.ErrBusy, err)
				}
				return err
			},
			Older: func(name string, size, sec int64, nsec uint32) (int, error) {
				return editions.Older(m.Path+"/"+name, size, sec, nsec)
			},
		})
	}
	return out
}

func titleOf(config *node.Config, module string) string {
	for _, p := range config.Projects() {
		if p.Module.Name == module {
			return p.Title
		}
	}
	return ""
}

// projectsIn are the names of the projects whose trees share files with a
// module's.
func projectsIn(config *node.Config, path string) []string {
	var out []string
	for _, p := range config.Projects() {
		if p.Overlaps(&project.Project{Path: path}) {
			out = append(out, p.Name)
		}
	}
	return out
}

// generation changes whenever syncd has published something in a module, or the
// module's folder is another.
func generation(path, states string, projects []string) func() (string, error) {
	return func() (string, error) {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		fmt.Fprint(&b, info.ModTime().UnixNano())
		for _, p := range projects {
			s := status.Load(states, p)
			if !s.Serving {
				return "", fmt.Errorf("%s: a publish is being completed: %w", p, rsync.ErrBusy)
			}
			fmt.Fprintf(&b, " %s %d %d", p, s.LastChange.UnixNano(), s.LastUpdate.UnixNano())
		}
		return b.String(), nil
	}
}
