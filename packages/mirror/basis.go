package mirror

import (
	"os"
	"path"
	"sync"

	"micromirror/packages/mirror/tree"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
)

// bases finds for files of the list what the tree has that may hold the same
// bytes: the served version, or else a neighbour that is probably another
// version of it. Two goroutines ask, one ahead of the other, and must be told
// the same; the tree does not change meanwhile.
type bases struct {
	tree string
	list *flist.List

	mu    sync.Mutex
	dirs  [4]siblings // of the directories asked for last
	next  int
	known map[int]string // choices made and not yet used a second time
}

// siblings are the files of a directory that can be a basis.
type siblings struct {
	dir        string
	candidates []client.Candidate
}

// maxSiblings bounds the work of comparing names: in a larger directory a file
// that is new is fetched whole.
const maxSiblings = 4096

func newBases(tree string, list *flist.List) *bases {
	return &bases{tree: tree, list: list, known: map[int]string{}}
}

// open opens the basis of file i; nil without an error means that there is none.
func (b *bases) open(i int) (*os.File, error) {
	root, err := tree.Open(b.tree)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if f, err := root.OpenFile(b.list.Name(i)); err == nil {
		return f, nil
	}
	name := b.similar(root, i)
	if name == "" {
		return nil, nil
	}
	f, err := root.OpenFile(name)
	if err != nil {
		return nil, nil // fetch it whole
	}
	return f, nil
}

// similar names the file of the same directory that promises the best delta.
func (b *bases) similar(root *tree.Root, i int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name, ok := b.known[i]; ok {
		delete(b.known, i)
		return name
	}
	name := b.list.Name(i)
	dir := path.Dir(name)
	candidates := b.siblings(root, dir)
	sec, _ := b.list.ModTime(i)
	choice := ""
	if n := client.Fuzzy(name, b.list.Size(i), sec, candidates); n >= 0 {
		choice = path.Join(dir, candidates[n].Name)
	}
	b.known[i] = choice
	return choice
}

// siblings lists a directory, or remembers it.
func (b *bases) siblings(root *tree.Root, dir string) []client.Candidate {
	for i := range b.dirs {
		if b.dirs[i].dir == dir {
			return b.dirs[i].candidates
		}
	}
	s := siblings{dir: dir}
	entries, err := root.List(dir, nil)
	if err == nil && len(entries) <= maxSiblings {
		for i := range entries {
			if e := &entries[i]; e.IsRegular() {
				s.candidates = append(s.candidates, client.Candidate{Name: e.Name, Size: e.Size, ModTime: e.Sec})
			}
		}
	}
	b.dirs[b.next] = s
	b.next = (b.next + 1) % len(b.dirs)
	return s.candidates
}
