package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// RotateKey replaces the key of a role. Of root it replaces the key whose ID
// begins with replace, or all three if that is empty; the keys that go may be
// lost, as long as two root keys can sign. It returns the IDs that are no longer
// good for anything.
func (r *Repository) RotateKey(ctx context.Context, role, replace string) (gone []string, err error) {
	err = r.change(ctx, "rotate "+role, func(s *set) error {
		old, ok := s.root.Signed.Roles[role]
		if !ok {
			return fmt.Errorf("no such role; there are %s", strings.Join(Roles(), ", "))
		}
		if gone, err = matching(old.KeyIDs, replace); err != nil {
			return err
		}
		used, err := r.everUsed(s, role)
		if err != nil {
			return err
		}
		fresh, err := r.Keys.fresh(role, len(gone), used)
		if err != nil {
			return err
		}
		next, root, err := r.nextRoot(s, role, gone, fresh)
		if err != nil {
			return err
		}
		if err := r.exchange(s, role, gone, fresh, next, root); err != nil {
			return err
		}
		return r.retire(role, used, next.Signed.Roles[role].KeyIDs)
	})
	return gone, err
}

// everUsed returns the keys that a role has or had: what was replaced once, for
// example because it was stolen, must never be taken for a new key.
func (r *Repository) everUsed(s *set, role string) ([]string, error) {
	var out []string
	for v := int64(1); v <= s.root.Signed.Version; v++ {
		root, err := rootFrom(r.metadata(v, rootMeta))
		if err != nil {
			return nil, fmt.Errorf("%w; %s", err, restore)
		}
		for _, id := range root.Signed.Roles[role].KeyIDs {
			if !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return out, nil
}

// retire marks the files of all keys that are not in use any more.
func (r *Repository) retire(role string, used, inUse []string) error {
	for _, id := range used {
		if slices.Contains(inUse, id) {
			continue
		}
		if err := r.Keys.retire(role, id); err != nil {
			return err
		}
	}
	return nil
}

func matching(ids []string, prefix string) ([]string, error) {
	var out []string
	for _, id := range ids {
		if strings.HasPrefix(id, prefix) {
			out = append(out, id)
		}
	}
	if prefix != "" && len(out) != 1 {
		return nil, fmt.Errorf("%d keys begin with %q; the role has %s", len(out), prefix, strings.Join(short(ids), ", "))
	}
	return out, nil
}

func short(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id[:min(shortID, len(id))]
	}
	return out
}

// nextRoot makes and signs the root after the current one.
func (r *Repository) nextRoot(s *set, role string, gone []string, fresh []*key) (*metadata.Metadata[metadata.RootType], []byte, error) {
	next, err := clone(s.root)
	if err != nil {
		return nil, nil, err
	}
	next.Signed.Version++
	next.Signed.Expires = r.until(metadata.ROOT)
	for _, id := range gone {
		if err := next.Signed.RevokeKey(id, role); err != nil {
			return nil, nil, err
		}
	}
	for _, k := range fresh {
		if err := next.Signed.AddKey(k.public, role); err != nil {
			return nil, nil, err
		}
	}
	signers, err := r.rootSigners(s, role, fresh)
	if err != nil {
		return nil, nil, err
	}
	if _, err := seal(next, metadata.ROOT, next, signers); err != nil {
		return nil, nil, err
	}
	data, err := seal(s.root, metadata.ROOT, next, signers)
	return next, data, err
}

func clone(root *metadata.Metadata[metadata.RootType]) (*metadata.Metadata[metadata.RootType], error) {
	data, err := root.ToBytes(false)
	if err != nil {
		return nil, err
	}
	return metadata.Root().FromBytes(data)
}

// rootSigners are the root keys that can be had, old and new. Too few of the old
// are an error that names those missing.
func (r *Repository) rootSigners(s *set, role string, fresh []*key) ([]*key, error) {
	var out []*key
	var missing []error
	old := s.root.Signed.Roles[metadata.ROOT]
	for _, id := range old.KeyIDs {
		k, err := r.Keys.load(metadata.ROOT, id)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		out = append(out, k)
	}
	if len(out) < old.Threshold {
		return nil, fmt.Errorf("the root needs %d signatures and %d can be had: %w", old.Threshold, len(out), errors.Join(missing...))
	}
	if role == metadata.ROOT {
		out = append(out, fresh...)
	}
	return out, nil
}

// exchange publishes the new root such that a reader with the old root and one
// with the new both accept what they see at any instant: the role's metadata is
// there with both signatures before the root changes. When the old key is lost,
// nobody can; then the root goes first.
func (r *Repository) exchange(s *set, role string, gone []string, fresh []*key, next *metadata.Metadata[metadata.RootType], root []byte) error {
	if role == metadata.ROOT {
		return r.writeRoot(next.Signed.Version, root)
	}
	both := slices.Clone(fresh)
	lost := false
	for _, id := range gone {
		k, err := r.Keys.load(role, id)
		if err != nil && !errors.Is(err, errMissing) {
			return err
		}
		lost = lost || err != nil
		if err == nil {
			both = append(both, k)
		}
	}
	if lost {
		s.root = next
	}
	c, err := r.sign(s, role == metadata.TARGETS, map[string][]*key{role: both})
	if err != nil {
		return err
	}
	if lost {
		if err := r.writeRoot(next.Signed.Version, root); err != nil {
			return err
		}
		return r.write(c)
	}
	if err := r.write(c); err != nil {
		return err
	}
	return r.writeRoot(next.Signed.Version, root)
}

// Renew signs a role's metadata anew for its whole lifetime: snapshot and
// timestamp always, and of root and targets those named. Then it removes what no
// valid metadata names any more.
func (r *Repository) Renew(ctx context.Context, roles ...string) error {
	return r.change(ctx, "renew", func(s *set) error {
		for _, role := range roles {
			if !slices.Contains(Roles(), role) {
				return fmt.Errorf("no such role %q; there are %s", role, strings.Join(Roles(), ", "))
			}
		}
		var root []byte
		if slices.Contains(roles, metadata.ROOT) {
			next, data, err := r.nextRoot(s, metadata.ROOT, nil, nil)
			if err != nil {
				return err
			}
			s.previous, s.root, root = s.root, next, data
		}
		c, err := r.sign(s, slices.Contains(roles, metadata.TARGETS), nil)
		if err != nil {
			return err
		}
		if root != nil {
			if err := r.writeRoot(s.root.Signed.Version, root); err != nil {
				return err
			}
		}
		if err := r.write(c); err != nil {
			return err
		}
		return r.prune(s)
	})
}
