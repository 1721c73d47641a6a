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
	root *tree.Root
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

func newBases(dir string, list *flist.List) (*bases, error) {
	root, err := tree.Open(dir)
	return &bases{root: root, list: list, known: map[int]string{}}, err
}

func (b *bases) close() { b.root.Close() }

// open opens the basis of file i; nil without an error means that there is none.
func (b *bases) open(i int) (*os.File, error) {
	name, again := b.recall(i)
	if !again {
		if f, err := b.root.OpenFile(b.list.Name(i)); err == nil {
			return f, nil
		}
		name = b.similar(i)
	}
	if name == "" {
		return nil, nil
	}
	f, err := b.root.OpenFile(name)
	if err != nil {
		return nil, nil // fetch it whole
	}
	return f, nil
}

// recall returns the choice made when somebody asked for i before.
func (b *bases) recall(i int) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, ok := b.known[i]
	delete(b.known, i)
	return name, ok
}

// similar names the file of the same directory that promises the best delta, and
// remembers it.
func (b *bases) similar(i int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := b.list.Name(i)
	dir := path.Dir(name)
	candidates := b.siblings(dir)
	sec, _ := b.list.ModTime(i)
	choice := ""
	if n := client.Fuzzy(name, b.list.Size(i), sec, candidates); n >= 0 {
		choice = path.Join(dir, candidates[n].Name)
	}
	b.known[i] = choice
	return choice
}

// siblings lists a directory, or remembers it.
func (b *bases) siblings(dir string) []client.Candidate {
	for i := range b.dirs {
		if b.dirs[i].dir == dir {
			return b.dirs[i].candidates
		}
	}
	s := siblings{dir: dir}
	entries, err := b.root.List(dir, nil)
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
