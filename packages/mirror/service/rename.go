package service

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"micromirror/packages/daemon"
	"micromirror/packages/durable"
	"micromirror/packages/mirror"
	"micromirror/packages/mirror/status"
)

// A project may get another name, or give way to another selection of the same
// tree (epel and epel-amd64): then the tree stays where it is, and so must what is
// known of it. An interrupted publish is to be finished, what vanished is to stay
// for its grace period, and the tree may be torn.

// inherit gives projects that are new here what one that is not hosted any more
// has left at the same path.
func (s *Service) inherit() {
	for _, k := range s.keepers {
		_, err := os.Lstat(filepath.Join(s.cfg.State, k.project.Name+".json"))
		if !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		former, found := s.former(k.project.Path)
		if !found {
			continue
		}
		if err := s.rename(former, k.project.Name); err != nil {
			s.cfg.Log.Warn(k.project.Name+": taking over what there is of "+former.Name, "err", err)
			continue
		}
		daemon.Notice(s.cfg.Log, k.project.Name+": takes over the tree of "+former.Name)
	}
}

// former is the state of the project that was served at a path last and is not
// hosted any more.
func (s *Service) former(path string) (best status.State, found bool) {
	files, err := filepath.Glob(filepath.Join(s.cfg.State, "*.json"))
	if err != nil {
		return best, false
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		state := status.Load(s.cfg.State, name)
		if s.keepers[name] != nil || state.Path != path || found && !state.LastEnded.After(best.LastEnded) {
			continue
		}
		best, found = state, true
	}
	return best, found
}

// rename gives what belongs to a project another name, the state last: until then
// the next start does it all again.
func (s *Service) rename(former status.State, name string) error {
	for from, to := range map[string]string{
		filepath.Join(s.cfg.Stage, former.Name):         filepath.Join(s.cfg.Stage, name),
		filepath.Join(s.cfg.State, former.Name+".gone"): filepath.Join(s.cfg.State, name+".gone"),
	} {
		if err := durable.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	old := former.Name
	former.Name, former.Status = name, status.Failed // another selection perhaps: a run is due
	if err := former.Save(s.cfg.State); err != nil {
		return err
	}
	return durable.Remove(filepath.Join(s.cfg.State, old+".json"))
}

// unfinished reports whether a stage that belongs to no project holds what is left
// to do of a publish to a tree that is still there: its project may come back.
func (s *Service) unfinished(name string) bool {
	job := mirror.Job{Stage: filepath.Join(s.cfg.Stage, name)}
	path := status.Load(s.cfg.State, name).Path
	if path == "" || whole(job) {
		return false
	}
	_, err := os.Lstat(filepath.Join(s.cfg.Mirror, filepath.FromSlash(path)))
	return err == nil
}
