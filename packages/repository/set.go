package repository

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"micromirror/packages/durable"
)

// set is the repository's current metadata.
type set struct {
	root      *metadata.Metadata[metadata.RootType]
	previous  *metadata.Metadata[metadata.RootType] // nil for the first
	targets   *metadata.Metadata[metadata.TargetsType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	timestamp *metadata.Metadata[metadata.TimestampType]
}

// maxMetadata bounds a metadata file.
const maxMetadata = 16 << 20

// load reads the newest metadata and checks that it was signed by a key of the
// root, or of the one before it: a change of keys may have been interrupted.
func (r *Repository) load() (*set, error) {
	if !r.Exists() {
		return nil, fmt.Errorf("%s: %w", r.Dir, ErrNone)
	}
	s, err := r.loadRoots()
	if err != nil {
		return nil, err
	}
	if s.timestamp, err = read(s, metadata.TIMESTAMP, r.timestamp(), metadata.Timestamp(), nil); err != nil {
		return nil, err
	}
	at := s.timestamp.Signed.Meta[snapshotMeta]
	if s.snapshot, err = read(s, metadata.SNAPSHOT, r.metadata(at.Version, snapshotMeta), metadata.Snapshot(), at); err != nil {
		return nil, err
	}
	at, ok := s.snapshot.Signed.Meta[targetsMeta]
	if !ok {
		return nil, fmt.Errorf("read %s: does not name %s; restore the repository from a copy", snapshotMeta, targetsMeta)
	}
	s.targets, err = read(s, metadata.TARGETS, r.metadata(at.Version, targetsMeta), metadata.Targets(), at)
	return s, err
}

const restore = "restore the repository from a copy"

// loadRoots follows the chain of root metadata from the desk's copy.
func (r *Repository) loadRoots() (*set, error) {
	trusted, err := rootFrom(r.Root)
	if err != nil {
		return nil, fmt.Errorf("%w; copy it from the newest %s", err, r.metadata(1, rootMeta))
	}
	if err := trusted.VerifyDelegate(metadata.ROOT, trusted); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.Root, err)
	}
	s := &set{root: trusted}
	if v := trusted.Signed.Version; v > 1 {
		if s.previous, err = rootFrom(r.metadata(v-1, rootMeta)); err != nil {
			return nil, fmt.Errorf("%w; %s", err, restore)
		}
		if err := s.previous.VerifyDelegate(metadata.ROOT, trusted); err != nil {
			return nil, fmt.Errorf("read root before %s: %w; %s", r.Root, err, restore)
		}
	}
	for {
		file := r.metadata(s.root.Signed.Version+1, rootMeta)
		next, err := rootFrom(file)
		if errors.Is(err, fs.ErrNotExist) {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w; %s", err, restore)
		}
		if err := follows(s.root, next); err != nil {
			return nil, fmt.Errorf("read %s: %w; %s", file, err, restore)
		}
		s.previous, s.root = s.root, next
	}
}

// TrustedRoot returns the desk's copy of the root metadata, which a new node
// gets; ErrNone when there is no repository yet.
func (r *Repository) TrustedRoot() ([]byte, error) {
	data, err := readFile(r.Root, maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", r.Root, ErrNone)
	}
	if err != nil {
		return nil, fmt.Errorf("read root metadata: %w", err)
	}
	root, err := metadata.Root().FromBytes(data)
	if err == nil {
		err = root.VerifyDelegate(metadata.ROOT, root)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; restore it from a copy", r.Root, err)
	}
	return data, nil
}

func rootFrom(file string) (*metadata.Metadata[metadata.RootType], error) {
	data, err := readFile(file, maxMetadata)
	if err != nil {
		return nil, fmt.Errorf("read root metadata: %w", err)
	}
	root, err := metadata.Root().FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return root, nil
}

// follows checks what a client checks of a new root.
func follows(old, next *metadata.Metadata[metadata.RootType]) error {
	if next.Signed.Version != old.Signed.Version+1 {
		return fmt.Errorf("version %d does not follow %d", next.Signed.Version, old.Signed.Version)
	}
	if err := old.VerifyDelegate(metadata.ROOT, next); err != nil {
		return fmt.Errorf("by the keys of root %d: %w", old.Signed.Version, err)
	}
	if err := next.VerifyDelegate(metadata.ROOT, next); err != nil {
		return fmt.Errorf("by its own keys: %w", err)
	}
	return nil
}

// read reads one metadata file and checks its hash, if known, and signature.
func read[T metadata.Roles](s *set, role, file string, empty *metadata.Metadata[T], at *metadata.MetaFiles) (*metadata.Metadata[T], error) {
	data, err := readFile(file, maxMetadata)
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w; %s", err, restore)
	}
	if at != nil {
		if err := at.VerifyLengthHashes(data); err != nil {
			return nil, fmt.Errorf("read %s: %w; %s", file, err, restore)
		}
	}
	m, err := empty.FromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; %s", file, err, restore)
	}
	err = s.root.VerifyDelegate(role, m)
	if err != nil && s.previous != nil && s.previous.VerifyDelegate(role, m) == nil {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: was altered where it lies: %w; %s", file, err, restore)
	}
	return m, nil
}

// commit is signed metadata that waits to be written.
type commit struct {
	targets           []byte // nil when it stays
	snapshot          []byte
	timestamp         []byte
	targetsV, snapshV int64
}

// sign makes the next version of snapshot and timestamp, and of targets if that
// has changed or is not signed by the root's key. The keys of each role come
// from the map, or else from the root.
func (r *Repository) sign(s *set, targets bool, keys map[string][]*key) (*commit, error) {
	targets = targets || s.root.VerifyDelegate(metadata.TARGETS, s.targets) != nil
	c := &commit{}
	var err error
	if targets {
		s.targets.Signed.Version++
		s.targets.Signed.Expires = r.until(metadata.TARGETS)
		if c.targets, err = sealed(r, s, metadata.TARGETS, s.targets, keys); err != nil {
			return nil, err
		}
		s.snapshot.Signed.Meta[targetsMeta] = metaFile(s.targets.Signed.Version, c.targets)
	}
	s.snapshot.Signed.Version++
	s.snapshot.Signed.Expires = r.until(metadata.SNAPSHOT)
	if c.snapshot, err = sealed(r, s, metadata.SNAPSHOT, s.snapshot, keys); err != nil {
		return nil, err
	}
	s.timestamp.Signed.Version++
	s.timestamp.Signed.Expires = r.until(metadata.TIMESTAMP)
	s.timestamp.Signed.Meta[snapshotMeta] = metaFile(s.snapshot.Signed.Version, c.snapshot)
	c.targetsV, c.snapshV = s.targets.Signed.Version, s.snapshot.Signed.Version
	c.timestamp, err = sealed(r, s, metadata.TIMESTAMP, s.timestamp, keys)
	return c, err
}

func metaFile(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	m := metadata.MetaFile(version)
	m.Length, m.Hashes = int64(len(data)), metadata.Hashes{"sha256": sum[:]}
	return m
}

// sealed signs with the keys given for the role, or those of the root.
func sealed[T metadata.Roles](r *Repository, s *set, role string, m *metadata.Metadata[T], keys map[string][]*key) ([]byte, error) {
	with, ok := keys[role]
	if !ok {
		for _, id := range s.root.Signed.Roles[role].KeyIDs {
			k, err := r.Keys.load(role, id)
			if err != nil {
				return nil, fmt.Errorf("sign %s: %w", role, err)
			}
			with = append(with, k)
		}
	}
	return seal(s.root, role, m, with)
}

// seal signs metadata and checks that the root accepts it.
func seal[T metadata.Roles](root *metadata.Metadata[metadata.RootType], role string, m *metadata.Metadata[T], keys []*key) ([]byte, error) {
	m.ClearSignatures()
	for _, k := range keys {
		signer, err := k.signer()
		if err != nil {
			return nil, fmt.Errorf("sign %s: %w", role, err)
		}
		if _, err := m.Sign(signer); err != nil {
			return nil, fmt.Errorf("sign %s: %w", role, err)
		}
	}
	if err := root.VerifyDelegate(role, m); err != nil {
		return nil, fmt.Errorf("sign %s: %w", role, err)
	}
	data, err := m.ToBytes(true)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", role, err)
	}
	return append(data, '\n'), nil
}

// write makes a commit visible, by the timestamp and at the end.
func (r *Repository) write(c *commit) error {
	if c.targets != nil {
		if err := r.put(r.metadata(c.targetsV, targetsMeta), c.targets); err != nil {
			return err
		}
	}
	if err := r.put(r.metadata(c.snapshV, snapshotMeta), c.snapshot); err != nil {
		return err
	}
	return r.put(r.timestamp(), c.timestamp)
}

// writeRoot makes a new root visible, and then the desk's copy.
func (r *Repository) writeRoot(version int64, data []byte) error {
	if err := r.put(r.metadata(version, rootMeta), data); err != nil {
		return err
	}
	return r.put(r.Root, data)
}

func (r *Repository) put(file string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := durable.WriteFile(file, data, 0o644); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return r.visible(file)
}

func (r *Repository) visible(file string) error {
	if r.wrote == nil {
		return nil
	}
	return r.wrote(file)
}

// catchUp completes the desk's copy of the root after an interruption.
func (r *Repository) catchUp(s *set) error {
	newest, err := readFile(r.metadata(s.root.Signed.Version, rootMeta), maxMetadata)
	if err != nil {
		return fmt.Errorf("read root metadata: %w; %s", err, restore)
	}
	if have, err := readFile(r.Root, maxMetadata); err == nil && bytes.Equal(have, newest) {
		return nil
	}
	return r.put(r.Root, newest)
}
