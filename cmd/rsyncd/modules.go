package main

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

// modules are the node's rsync modules, the contractual ones of its projects.
func (f *flags) modules(config *node.Config) []rsync.Module {
	var out []rsync.Module
	editions := edition.Archive{Dir: filepath.Join(f.root, edition.Folder)}
	for _, m := range config.Modules() {
		path := filepath.Join(f.root, m.Path)
		out = append(out, rsync.Module{
			Name: m.Name, Comment: cmp.Or(m.Comment, titleOf(config, m.Name)), Path: path, Exclude: excludes[:],
			Generation: f.generation(path, projectsIn(config, m.Path)),
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
func (f *flags) generation(path string, projects []string) func() (string, error) {
	return func() (string, error) {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		fmt.Fprint(&b, info.ModTime().UnixNano())
		for _, p := range projects {
			s := status.Load(f.state, p)
			if !s.Serving {
				return "", fmt.Errorf("%s: a publish is being completed: %w", p, rsync.ErrBusy)
			}
			fmt.Fprintf(&b, " %s %d %d", p, s.LastChange.UnixNano(), s.LastUpdate.UnixNano())
		}
		return b.String(), nil
	}
}

// motd greets with the node's name and who hosts it.
func motd(config *node.Config) string {
	s := config.Node.Sponsor
	return strings.TrimSpace(fmt.Sprintf("%s\n%s %s", config.Hostname(), s.Name, s.URL))
}
