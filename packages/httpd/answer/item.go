package answer

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"

	"micromirror/packages/httpd/cache"
	"micromirror/packages/httpd/conditional"
	"micromirror/packages/httpd/mimetype"
	"micromirror/packages/httpd/tree"
)

// MaxInline is the size up to which a file's content is kept in memory: sending
// it takes one system call instead of two.
const MaxInline = 16 << 10

// errDirectory means that a name without a final slash is a directory.
var errDirectory = errors.New("is a directory")

// Cached returns the item that a plain GET of target is answered with, nil where
// it takes more thought. The caller releases it. Paths with escapes, queries or
// dot segments are never cached under their target.
func (s *Site) Cached(target []byte) *cache.Item {
	for i, c := range target {
		if c == '%' || c == '?' || c == '/' && i+1 < len(target) && (target[i+1] == '/' || target[i+1] == '.') {
			return nil
		}
	}
	item := s.Cache.Get(target[1:])
	if item == nil {
		return nil
	}
	if item.Missing {
		item.Release()
		return nil
	}
	if p := s.Status.Report().Of(item.Name); p != nil && !p.Serving {
		item.Release()
		return nil
	}
	return item
}

// Quick says whether Answer will find everything in memory.
func (s *Site) Quick(r *Request) bool {
	name, dir, ok := tree.Clean(r.Path)
	if !ok || s.reserved(r, name, dir) {
		return true
	}
	key := name
	if dir {
		_, _, key = listingKey(r, name)
	}
	item := s.Cache.Get([]byte(key))
	if item == nil {
		return false
	}
	item.Release()
	return true
}

// item gets what name means, from the cache or the disk.
func (s *Site) item(r *Request, name string, dir bool) (*cache.Item, error) {
	if dir {
		return s.listing(r, name)
	}
	if item := s.Cache.Get([]byte(name)); item != nil {
		if item.Missing {
			item.Release()
			return nil, tree.ErrNotExist
		}
		return item, nil
	}
	// Most names that are not in the cache are not in the tree either; that is
	// found out before anything is watched.
	if err := s.Tree.Exists(name); err != nil {
		if errors.Is(err, tree.ErrNotExist) && s.Cache.Again(name) {
			s.remember(name)
		}
		return nil, err
	}
	return s.Cache.Fill(name, cache.Need{Name: name}, func() (*cache.Item, []cache.Need, error) {
		item, err := s.load(name)
		return item, nil, err
	})
}

// remember keeps it in mind that a name is missing, should it still be.
func (s *Site) remember(name string) {
	item, err := s.Cache.Fill(name, cache.Need{Name: name, Missing: true}, func() (*cache.Item, []cache.Need, error) {
		if err := s.Tree.Exists(name); !errors.Is(err, tree.ErrNotExist) {
			return nil, nil, errAppeared
		}
		return &cache.Item{Name: name, Missing: true}, nil, nil
	})
	if err == nil {
		item.Release()
	}
}

// errAppeared means that a name came into being just now.
var errAppeared = errors.New("exists")

// load opens a file and prepares its header lines.
func (s *Site) load(name string) (*cache.Item, error) {
	f, err := s.Tree.Lookup(name)
	if err != nil {
		return nil, err
	}
	if f.IsDir() {
		f.Close()
		return nil, errDirectory
	}
	item := &cache.Item{
		Name: name, File: f, Length: f.Size(), Type: mimetype.Of(name),
		ETag: conditional.ETag(f.ModTime(), f.Size()), ModTime: f.ModTime(),
	}
	if item.Length <= MaxInline {
		item.Body = make([]byte, item.Length)
		if _, err := f.ReadAt(item.Body, 0); err != nil {
			f.Close()
			return nil, fmt.Errorf("load: %w", err)
		}
	}
	finish(item, cacheControl(name))
	return item, nil
}

// finish writes the item's header lines.
func finish(item *cache.Item, cacheControl string) {
	item.Modified = item.ModTime.UTC().Format(http.TimeFormat)
	v := conditional.Validators{ETag: item.ETag, ModTime: item.ModTime}
	item.Validators = validatorLines(v, cacheControl)
	header := append(bytes.Clone(item.Validators), "Content-Type: "+item.Type+"\r\n"...)
	item.Header = appendLength(header, item.Length)
}

// needsOf lists what a listing depends on beyond its directory: the times of
// subdirectories, and what links lead to.
func needsOf(dir string, entries []tree.Entry) []cache.Need {
	var needs []cache.Need
	for i := range entries {
		if e := &entries[i]; e.Dir || e.Link {
			needs = append(needs, cache.Need{Name: join(dir, e.Name), Whole: e.Dir})
		}
	}
	return needs
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
