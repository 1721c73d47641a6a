package supervise

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/durable"
	"micromirror/packages/identity"
)

// Kept is a directory on /perm whose files have a second copy on the identity
// partition, under their name behind the prefix.
type Kept struct {
	Prefix string // "" or "acme/"
	Dir    string
	UID    int // owner of what is restored
	Mode   fs.FileMode
	Only   []string // these files; all if empty
	// Valid, if set, tells damage in what is not JSON, such as WholePEM.
	Valid func(content []byte) bool
	// Last is restored after everything else: who waits for it reads the rest, too.
	Last bool
}

// maxKept bounds one file: an identity is small.
const maxKept = 1 << 20

func (k Kept) wants(name string) bool {
	return len(k.Only) == 0 || slices.Contains(k.Only, name)
}

// usable reports whether a file's content is worth keeping.
func (k Kept) usable(name string, content []byte) bool {
	switch {
	case len(content) == 0:
		return false
	case path.Ext(name) == ".json":
		return json.Valid(content)
	}
	return k.Valid == nil || k.Valid(content)
}

// WholePEM reports whether there is nothing but keys and certificates in PEM form.
func WholePEM(content []byte) bool {
	for len(bytes.TrimSpace(content)) > 0 {
		block, rest := pem.Decode(content)
		if block == nil || !bytes.HasPrefix(content, []byte("-----BEGIN ")) {
			return false
		}
		var err error
		switch block.Type {
		case "CERTIFICATE":
			_, err = x509.ParseCertificate(block.Bytes)
		case "PRIVATE KEY":
			_, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		}
		if err != nil {
			return false
		}
		content = rest
	}
	return true
}

// Restore writes back the files that are missing on /perm, or that are
// damaged for everybody to see. It returns the names of those restored.
func Restore(set identity.Set, kept []Kept) (restored []string, err error) {
	var errs []error
	for _, key := range inOrder(set, kept) {
		k, name, ok := keptBy(kept, key)
		if !ok || !k.usable(name, set[key]) {
			continue
		}
		file := filepath.Join(k.Dir, name)
		if old, err := os.ReadFile(file); err == nil && k.usable(name, old) {
			continue
		}
		if err := k.write(name, set[key]); err != nil {
			errs = append(errs, fmt.Errorf("restore %s: %w", key, err))
			continue
		}
		restored = append(restored, key)
	}
	return restored, errors.Join(errs...)
}

// inOrder lists the set's files in the order in which they are restored.
func inOrder(set identity.Set, kept []Kept) []string {
	last := func(key string) int {
		if k, _, ok := keptBy(kept, key); ok && k.Last {
			return 1
		}
		return 0
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b string) int {
		return cmp.Or(last(a)-last(b), cmp.Compare(a, b))
	})
}

// keptBy finds where a file of the set belongs: the longest prefix that wants it
// decides, and no name leads out of its directory.
func keptBy(kept []Kept, key string) (k Kept, name string, ok bool) {
	best := -1
	for i, c := range kept {
		if strings.HasPrefix(key, c.Prefix) && c.wants(strings.TrimPrefix(key, c.Prefix)) && (best < 0 || len(c.Prefix) > len(kept[best].Prefix)) {
			best = i
		}
	}
	if best < 0 {
		return Kept{}, "", false
	}
	name = strings.TrimPrefix(key, kept[best].Prefix)
	ok = name != "" && !strings.ContainsAny(name, "/\x00") && !strings.HasPrefix(name, ".")
	return kept[best], name, ok
}

func (k Kept) write(name string, content []byte) error {
	if err := os.MkdirAll(k.Dir, 0o755); err != nil {
		return err
	}
	// The owner comes before the name, or a daemon could meet a file that it
	// cannot read.
	file, fresh := filepath.Join(k.Dir, name), filepath.Join(k.Dir, "."+name+".restored")
	if err := durable.WriteFile(fresh, content, k.Mode); err != nil {
		return err
	}
	if err := os.Chown(fresh, k.UID, k.UID); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return durable.Rename(fresh, file)
}

// Refresh brings the second copy up to date: what is on /perm now replaces what
// the partition has, and what is missing on /perm stays on the partition. It
// reports whether it had to write.
func Refresh(dev identity.Device, kept []Kept) (written bool, err error) {
	old, err := identity.Read(dev)
	if err != nil && !errors.Is(err, identity.ErrNone) {
		return false, fmt.Errorf("refresh identity: %w", err)
	}
	set := maps.Clone(old)
	if set == nil {
		set = identity.Set{}
	}
	for _, k := range kept {
		if err := k.collect(set); err != nil {
			return false, fmt.Errorf("refresh identity: %w", err)
		}
	}
	if len(set) == 0 || maps.EqualFunc(old, set, bytes.Equal) {
		return false, nil
	}
	if err := identity.Write(dev, set); err != nil {
		return false, fmt.Errorf("refresh identity: %w", err)
	}
	return true, nil
}

// collect adds a directory's files to the set. A directory that is not there
// belongs to a daemon that has nothing yet.
func (k Kept) collect(set identity.Set) error {
	files, err := os.ReadDir(k.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxKept || strings.HasPrefix(f.Name(), ".") || !k.wants(f.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(k.Dir, f.Name()))
		if err != nil {
			return err
		}
		if k.usable(f.Name(), content) {
			set[k.Prefix+f.Name()] = content
		}
	}
	return nil
}
