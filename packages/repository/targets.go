package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"micromirror/packages/durable"
)

// ErrNoTarget says that the repository does not have a file.
var ErrNoTarget = errors.New("not in the update repository")

// maxTarget bounds what is read into memory: everything but a release's images.
const maxTarget = 16 << 20

var targetForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~_-]*(/[0-9A-Za-z][0-9A-Za-z.+~_-]*)*$`)

// source is the content of a file to publish.
type source func() (io.ReadCloser, error)

func fromBytes(b []byte) source {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// file is where a target with that content lies.
func (r *Repository) file(target, sha256 string) string {
	dir, name := path.Split(target)
	return filepath.Join(r.Dir, "targets", filepath.FromSlash(dir), sha256+"."+name)
}

// store puts a file's content in place, under a name that nothing refers to yet.
func (r *Repository) store(target string, src source) (*metadata.TargetFiles, error) {
	if !targetForm.MatchString(target) || strings.Contains(target, "..") {
		return nil, fmt.Errorf("store %q: is no path of letters, digits and .+~_-", target)
	}
	dir := filepath.Dir(r.file(target, ""))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store %s: %w", target, err)
	}
	if err := tidy(dir); err != nil {
		return nil, fmt.Errorf("store %s: %w", target, err)
	}
	tmp, sum, size, err := spool(dir, src)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", target, err)
	}
	file := r.file(target, hex.EncodeToString(sum))
	if err := durable.Rename(tmp, file); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: %w", target, err), os.Remove(tmp))
	}
	if err := r.visible(file); err != nil {
		return nil, err
	}
	return &metadata.TargetFiles{Length: size, Hashes: metadata.Hashes{"sha256": sum}, Path: target}, nil
}

// tidy removes what interrupted stores left: nobody else works here.
func tidy(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), spooled) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// spooled begins the names of temporary files.
const spooled = ".new-"

// spool copies a content into a synced temporary file.
func spool(dir string, src source) (file string, sum []byte, size int64, err error) {
	in, err := src()
	if err != nil {
		return "", nil, 0, err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, spooled+"*")
	if err != nil {
		return "", nil, 0, err
	}
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(out, h), in)
	err = errors.Join(err, out.Chmod(0o644), out.Sync(), out.Close())
	if err != nil {
		return "", nil, 0, errors.Join(err, os.Remove(out.Name()))
	}
	return out.Name(), h.Sum(nil), size, nil
}

// publish stores files, forgets others, and signs; unchanged content is no new
// version.
func (r *Repository) publish(s *set, add map[string]source, drop func(target string) bool) (changed bool, err error) {
	targets := s.targets.Signed.Targets
	for target := range targets {
		if _, stays := add[target]; !stays && drop(target) {
			delete(targets, target)
			changed = true
		}
	}
	for _, target := range slices.Sorted(maps.Keys(add)) {
		t, err := r.store(target, add[target])
		if err != nil {
			return false, err
		}
		if old, ok := targets[target]; !ok || !old.Equal(*t) {
			targets[target] = t
			changed = true
		}
	}
	if !changed {
		return false, nil
	}
	c, err := r.sign(s, true, nil)
	if err != nil {
		return false, err
	}
	return true, r.write(c)
}

func none(string) bool { return false }

// change loads the repository under the lock and lets f publish.
func (r *Repository) change(ctx context.Context, what string, f func(*set) error) error {
	if !r.Exists() { // before a folder is made for the lock
		return fmt.Errorf("%s: %s: %w", what, r.Dir, ErrNone)
	}
	err := r.locked(ctx, func() error {
		s, err := r.load()
		if err != nil {
			return err
		}
		if err := r.catchUp(s); err != nil {
			return err
		}
		return f(s)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// SetTargets publishes files as they are. It reports whether anything changed.
func (r *Repository) SetTargets(ctx context.Context, files map[string][]byte) (changed bool, err error) {
	add := map[string]source{}
	for target, content := range files {
		add[target] = fromBytes(content)
	}
	err = r.change(ctx, "publish", func(s *set) error {
		changed, err = r.publish(s, add, none)
		return err
	})
	return changed, err
}

// Target returns the content of a file in the repository.
func (r *Repository) Target(target string) ([]byte, error) {
	s, err := r.load()
	if err != nil {
		return nil, err
	}
	return r.target(s, target)
}

func (r *Repository) target(s *set, target string) ([]byte, error) {
	t, ok := s.targets.Signed.Targets[target]
	if !ok {
		return nil, fmt.Errorf("%s: %w", target, ErrNoTarget)
	}
	data, err := readFile(r.file(target, t.Hashes["sha256"].String()), maxTarget)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w; %s", target, err, restore)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", target, err)
	}
	if err := t.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("read %s: %w; %s", target, err, restore)
	}
	return data, nil
}

// Targets returns the paths of all files in the repository.
func (r *Repository) Targets() ([]string, error) {
	s, err := r.load()
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.targets.Signed.Targets)), nil
}
