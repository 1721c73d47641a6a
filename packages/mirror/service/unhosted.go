package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/durable"
	"micromirror/packages/mirror/tree"
)

// A project that a node no longer hosts leaves its tree behind. It is not served
// as a project, but takes space; it stays for Config.Keep, in case its name was
// lost by mistake, and is then deleted. The list is in this file of the state
// folder, from a tree's path to the time when it was first found so.
const unhostedFile = "unhosted.json"

// cleanInterval is how often trees are looked at.
const cleanInterval = 6 * time.Hour

// firstDay is before any run of this program: a clock that shows less is not set.
var firstDay = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clean looks after trees that are not hosted until the context ends.
func (s *Service) clean(done <-chan struct{}) {
	ticker := time.NewTicker(cleanInterval)
	defer ticker.Stop()
	for {
		if err := s.unhosted(time.Now()); err != nil {
			s.cfg.Log.Warn("trees that are not hosted", "err", err)
		}
		select {
		case <-done:
			return
		case <-ticker.C:
		}
	}
}

// unhosted reports the trees that belong to no project and deletes those that
// have been on the list for long enough.
func (s *Service) unhosted(now time.Time) error {
	if len(s.keepers) == 0 || now.Before(firstDay) {
		return nil // more likely a configuration or a clock that cannot be read
	}
	file := filepath.Join(s.cfg.State, unhostedFile)
	known := map[string]time.Time{}
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &known) != nil {
		known = map[string]time.Time{}
	}
	found, err := s.strays(".")
	if err != nil {
		return err
	}
	list := map[string]time.Time{}
	for _, name := range found {
		since, old := known[name]
		switch {
		case !old || since.After(now):
			since = now
			daemon.Notice(s.cfg.Log, name+": not hosted any more", "deleted_after", now.Add(s.cfg.Keep).UTC().Format(time.DateTime))
		case now.Sub(since) >= s.cfg.Keep:
			if err = s.discard(name); err == nil {
				daemon.Notice(s.cfg.Log, name+": not hosted any more, deleted")
				continue
			}
		}
		list[name] = since
	}
	if len(list) == 0 && len(known) == 0 {
		return err
	}
	data, merr := json.MarshalIndent(list, "", "  ")
	return errors.Join(err, merr, durable.WriteFile(file, append(data, '\n'), 0o644))
}

// strays lists what is in a folder of the web root and belongs to no project.
func (s *Service) strays(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.cfg.Mirror, dir))
	if err != nil {
		return nil, fmt.Errorf("list trees: %w", err)
	}
	var out []string
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch s.holds(name) {
		case within, exactly:
		case above:
			more, err := s.strays(name)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		default:
			if !strings.HasPrefix(name, ".") { // those are the node's own
				out = append(out, name)
			}
		}
	}
	return out, nil
}

// relation is that of a name to the hosted trees.
type relation int

const (
	apart relation = iota
	above
	exactly
	within
)

func (s *Service) holds(name string) relation {
	for _, k := range s.keepers {
		switch p := k.project.Path; {
		case name == p:
			return exactly
		case strings.HasPrefix(name, p+"/"):
			return within
		case strings.HasPrefix(p, name+"/"):
			return above
		}
	}
	return apart
}

// discardDir is where, in the stage, trees go before they are deleted. No project
// is called so.
const discardDir = ".discarded"

// discard deletes a tree: at once for those who read it, then file by file.
func (s *Service) discard(name string) error {
	dir := filepath.Join(s.cfg.Stage, discardDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	target := filepath.Join(dir, strconv.FormatInt(time.Now().UnixNano(), 36))
	err := os.Rename(filepath.Join(s.cfg.Mirror, name), target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return tree.Discard(target)
}
