// Package repository is the maintainer's side of the update repository: a TUF
// repository of static files that any web server can carry.
//
// Files, all below Dir and written by this package only:
//
//	metadata/N.root.json, N.targets.json, N.snapshot.json, timestamp.json
//	targets/<folder>/<sha256>.<name>      consistent snapshots: nothing is overwritten
//
// Root is a copy of the newest root metadata, kept beside the fleet: it is what
// the desk itself trusts, and what a new node gets. Key files are
// <role>-<first 8 digits of the key's ID>.key, mode 0600; see Keys.
//
// Roles: three root keys, of which two must sign, meant to be taken offline; one
// key each for targets (the maintainer), snapshot and timestamp (online, renewed
// from cron). Targets lasts a year, root two, snapshot and timestamp 30 days.
//
// Promises:
//   - A reader sees a consistent repository at any instant: files first, then
//     targets, snapshot, and timestamp last. When a key changes, the new metadata
//     carries both signatures before the root names the new key.
//   - What is replaced or taken out stays until all metadata that names it has
//     expired, so that nodes and mirrors in the middle of something can end it;
//     Renew then removes it, and the folder does not grow for ever.
//   - Whatever is interrupted is simply repeated; a version that no timestamp
//     names yet is written again.
//   - Nothing is signed anew that was not found signed: files that were altered
//     where they lie are refused. Everything is signed before the first byte is
//     written, so a key that is missing costs nothing.
//   - One change at a time: a lock in the key folder makes others wait.
package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"
)

// Repository is where the files are. Its methods read them anew at each call.
type Repository struct {
	Dir  string // metadata/ and targets/
	Root string // file: copy of the newest root metadata
	Keys Keys
	Now  func() time.Time // time.Now if nil

	// wrote is called after each file that became visible; for tests.
	wrote func(file string) error
}

// At returns the repository of a fleet folder, in the usual places.
func At(fleet string) *Repository {
	return &Repository{
		Dir:  filepath.Join(fleet, "repository"),
		Root: filepath.Join(fleet, "root.json"),
		Keys: Keys{Dirs: []string{filepath.Join(fleet, "keys")}},
	}
}

// Roles returns the names of the roles, root first.
func Roles() []string {
	return []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP}
}

const (
	rootKeys      = 3
	rootThreshold = 2

	timestampFile = "timestamp.json"
	rootMeta      = "root.json"
	snapshotMeta  = "snapshot.json"
	targetsMeta   = "targets.json"
)

// lifetime is how long a role's metadata is good for.
func lifetime(role string) time.Duration {
	const day = 24 * time.Hour
	switch role {
	case metadata.ROOT:
		return 730 * day
	case metadata.TARGETS:
		return 365 * day
	default:
		return 30 * day
	}
}

// ErrNone says that there is no repository yet.
var ErrNone = errors.New(`no update repository; make one with "mirrorctl keys init"`)

func (r *Repository) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func (r *Repository) until(role string) time.Time {
	return r.now().Add(lifetime(role)).UTC().Truncate(time.Second)
}

func (r *Repository) metadata(version int64, name string) string {
	return filepath.Join(r.Dir, "metadata", fmt.Sprintf("%d.%s", version, name))
}

func (r *Repository) timestamp() string { return filepath.Join(r.Dir, "metadata", timestampFile) }

// Exists reports whether the repository was made.
func (r *Repository) Exists() bool {
	_, err := os.Stat(r.timestamp())
	return err == nil
}

// Init makes keys and an empty repository. Keys that an interrupted Init left
// are used.
func (r *Repository) Init(ctx context.Context) error {
	return r.locked(ctx, func() error {
		if r.Exists() {
			return fmt.Errorf("init: %s is an update repository already", r.Dir)
		}
		if _, err := os.Stat(r.Root); err == nil && !r.halfMade() {
			return fmt.Errorf("init: %s is there, but not its repository %s: restore it from a copy, or remove the file for a new one that no existing node will trust", r.Root, r.Dir)
		}
		s, keys, err := r.first()
		if err != nil {
			return fmt.Errorf("init: %w", err)
		}
		root, err := seal(s.root, metadata.ROOT, s.root, keys[metadata.ROOT])
		if err != nil {
			return fmt.Errorf("init: %w", err)
		}
		c, err := r.sign(s, true, keys)
		if err != nil {
			return fmt.Errorf("init: %w", err)
		}
		if err := r.writeRoot(s.root.Signed.Version, root); err != nil {
			return fmt.Errorf("init: %w", err)
		}
		return r.write(c)
	})
}

// halfMade reports whether an Init was interrupted: there is a first root and
// nothing else.
func (r *Repository) halfMade() bool {
	first, err := os.ReadFile(r.metadata(1, rootMeta))
	if err != nil {
		return false
	}
	copied, err := os.ReadFile(r.Root)
	if err != nil {
		return false
	}
	_, err = os.Stat(r.metadata(2, snapshotMeta))
	return bytes.Equal(first, copied) && errors.Is(err, fs.ErrNotExist)
}

// first returns the metadata of an empty repository and its keys.
func (r *Repository) first() (*set, map[string][]*key, error) {
	s := &set{root: metadata.Root(r.until(metadata.ROOT)), targets: metadata.Targets(), snapshot: metadata.Snapshot(), timestamp: metadata.Timestamp()}
	// The first publish counts up from here.
	s.targets.Signed.Version, s.snapshot.Signed.Version, s.timestamp.Signed.Version = 0, 0, 0
	keys := map[string][]*key{}
	for _, role := range Roles() {
		n := 1
		if role == metadata.ROOT {
			n = rootKeys
		}
		ks, err := r.Keys.fresh(role, n, nil)
		if err != nil {
			return nil, nil, err
		}
		for _, k := range ks {
			if err := s.root.Signed.AddKey(k.public, role); err != nil {
				return nil, nil, err
			}
		}
		keys[role] = ks
	}
	s.root.Signed.Roles[metadata.ROOT].Threshold = rootThreshold
	return s, keys, nil
}

// locked runs f while no other process changes the repository.
func (r *Repository) locked(ctx context.Context, f func() error) error {
	dir, err := r.Keys.home()
	if err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock repository: %w", err)
	}
	defer lock.Close()
	if err := flock(ctx, int(lock.Fd())); err != nil {
		return fmt.Errorf("lock repository %s: %w (another mirrorctl works on it)", r.Dir, err)
	}
	return f()
}

// flock waits for the lock, or for the end of the context.
func flock(ctx context.Context, fd int) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
