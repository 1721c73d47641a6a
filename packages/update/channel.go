package update

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"micromirror/packages/durable"
	"micromirror/packages/fetch"
)

// ErrExpired is wrapped when the newest metadata that can be had is out of date.
// It is a warning to the maintainers, never a problem of the service.
var ErrExpired = errors.New("metadata has expired")

// Channel is the update repository as a node sees it: signed files that any of
// several web servers brings.
//
// All servers are asked each time, and the newest metadata that any of them has
// counts: one that is frozen, behind or gone holds nothing back as long as another
// is well. What was trusted once is kept in Dir, durably, so that no server can
// later offer something older.
type Channel struct {
	Bases []string // base URLs, each with metadata/ and targets/
	Root  []byte   // the root metadata that the node was born with
	Dir   string   // trusted metadata
	Get   func(ctx context.Context, url string, max int64) ([]byte, error)
	Limit time.Duration // for the metadata of one server
}

// roles are the files of trusted metadata, in the order of trust.
func roles() []string {
	return []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS}
}

// Target is a signed file of the repository.
type Target struct {
	Path   string // its name
	Remote string // where it is below targets/
	Size   int64
	SHA256 [32]byte
}

// Catalogue is what the newest metadata names.
type Catalogue struct {
	channel *Channel
	files   map[string]*metadata.TargetFiles
}

// Refresh brings the metadata up to date. Its expiry is judged at a time that the
// caller trusts.
func (c *Channel) Refresh(ctx context.Context, at time.Time) (*Catalogue, error) {
	if len(c.Bases) == 0 {
		return nil, errors.New("no server is known; write update.urls in fleet.json")
	}
	scratch, err := os.MkdirTemp("", "tuf-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	if err := c.load(scratch); err != nil {
		return nil, err
	}
	var files map[string]*metadata.TargetFiles
	var problems []error
	for _, base := range c.Bases {
		got, err := c.refresh(ctx, base, scratch, at)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", base, err))
			continue
		}
		files = got
	}
	if err := c.save(scratch); err != nil {
		return nil, err
	}
	if files == nil {
		return nil, errors.Join(problems...)
	}
	return &Catalogue{channel: c, files: files}, nil
}

// refresh asks one server. The metadata in scratch only ever becomes newer.
func (c *Channel) refresh(ctx context.Context, base, scratch string, at time.Time) (map[string]*metadata.TargetFiles, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	root, err := os.ReadFile(filepath.Join(scratch, metadata.ROOT+".json"))
	if err != nil {
		return nil, err
	}
	cfg, err := config.New(join(base, "metadata"), root)
	if err != nil {
		return nil, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = scratch, filepath.Join(scratch, "targets")
	cfg.Fetcher = fetcher(func(url string, max int64) ([]byte, error) { return c.Get(ctx, url, max) })
	u, err := updater.New(cfg)
	if err != nil {
		return nil, err
	}
	u.UnsafeSetRefTime(at)
	if err := u.Refresh(); err != nil {
		return nil, explain(err, at)
	}
	return u.GetTopLevelTargets(), nil
}

// explain words what go-tuf refuses.
func explain(err error, at time.Time) error {
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return fmt.Errorf("%w (judged at %s): %w", ErrExpired, at.UTC().Format(time.DateOnly), err)
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return fmt.Errorf("not signed by the keys that this node trusts: %w", err)
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		return fmt.Errorf("older than what was seen before, or mixed: %w", err)
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		return fmt.Errorf("not the file that the signed metadata names, mixed or damaged: %w", err)
	default:
		return err
	}
}

// load puts the trusted metadata into scratch. What is damaged is left out: it
// is then loaded anew, starting from the root the node was born with.
func (c *Channel) load(scratch string) error {
	root := c.Root
	born, err := trustedmetadata.New(root)
	if err != nil {
		return fmt.Errorf("root metadata of the node: %w", err)
	}
	if b, err := os.ReadFile(c.file(metadata.ROOT)); err == nil {
		if kept, err := trustedmetadata.New(b); err == nil && kept.Root.Signed.Version > born.Root.Signed.Version {
			root = b
		}
	}
	if err := os.WriteFile(filepath.Join(scratch, metadata.ROOT+".json"), root, 0o600); err != nil {
		return err
	}
	for role, parse := range map[string]func([]byte) error{
		metadata.TIMESTAMP: func(b []byte) error { _, err := metadata.Timestamp().FromBytes(b); return err },
		metadata.SNAPSHOT:  func(b []byte) error { _, err := metadata.Snapshot().FromBytes(b); return err },
		metadata.TARGETS:   func(b []byte) error { _, err := metadata.Targets().FromBytes(b); return err },
	} {
		b, err := os.ReadFile(c.file(role))
		if err != nil || parse(b) != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(scratch, role+".json"), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *Channel) file(role string) string { return filepath.Join(c.Dir, role+".json") }

// save keeps what has become trusted. All of it was verified, also when the
// refresh failed later on.
func (c *Channel) save(scratch string) error {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	for _, role := range roles() {
		b, err := os.ReadFile(filepath.Join(scratch, role+".json"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(c.file(role)); err == nil && string(old) == string(b) {
			continue
		}
		if err := durable.WriteFile(c.file(role), b, 0o644); err != nil {
			return fmt.Errorf("keep trusted metadata: %w", err)
		}
	}
	return nil
}

// Find returns a file that the metadata names.
func (c *Catalogue) Find(name string) (Target, bool) {
	f, ok := c.files[name]
	if !ok || len(f.Hashes["sha256"]) != 32 || f.Length < 0 {
		return Target{}, false
	}
	dir, base := path.Split(name)
	return Target{Path: name, Size: f.Length, SHA256: [32]byte(f.Hashes["sha256"]),
		Remote: "targets/" + dir + hex.EncodeToString(f.Hashes["sha256"]) + "." + base}, true
}

// Read returns the content of a small file.
func (c *Catalogue) Read(ctx context.Context, name string, max int64) ([]byte, error) {
	t, ok := c.Find(name)
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, os.ErrNotExist)
	}
	if t.Size > max {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, t.Size, max)
	}
	var problems []error
	for _, base := range c.channel.Bases {
		b, err := c.channel.Get(ctx, join(base, t.Remote), t.Size)
		if err == nil {
			err = c.files[name].VerifyLengthHashes(b)
		}
		if err == nil {
			return b, nil
		}
		problems = append(problems, fmt.Errorf("%s: %w", base, err))
	}
	return nil, fmt.Errorf("read %s: %w", name, errors.Join(problems...))
}

func join(base, name string) string { return strings.TrimSuffix(base, "/") + "/" + name }

// fetcher lets go-tuf download by our rules: bounded in size and time.
type fetcher func(url string, max int64) ([]byte, error)

// DownloadFile implements go-tuf's interface; its last argument is unused there.
func (f fetcher) DownloadFile(url string, max int64, _ time.Duration) ([]byte, error) {
	b, err := f(url, max)
	// What is not there ends the chain of root metadata; static servers also
	// answer 403 for it.
	if status, ok := errors.AsType[*fetch.StatusError](err); ok {
		code := status.Code
		if code == http.StatusForbidden {
			code = http.StatusNotFound
		}
		return nil, fmt.Errorf("%w: %w", &metadata.ErrDownloadHTTP{StatusCode: code, URL: url}, err)
	}
	return b, err
}
