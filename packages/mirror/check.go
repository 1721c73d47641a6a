package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"micromirror/packages/mirror/tree"
	"micromirror/packages/rsync/client"
	"micromirror/packages/rsync/flist"
)

// Checked is what a comparison of some files with upstream found.
type Checked struct {
	// Compared are the files whose content was compared, Changed those of which
	// upstream has another version or none any more.
	Compared, Changed int
	// Wrong names those that should be equal and are not.
	Wrong []string
	// Behind is set when upstream's freshness file is another than the tree's.
	Behind bool
}

// The bounds of a sample.
const (
	sampleFiles = 16
	sampleBytes = 32 << 20
)

// checkDir is where, in the stage, upstream's versions come to lie.
const checkDir = "check"

// Check compares the project's freshness file and a random sample of the tree
// with upstream, byte by byte: only differences travel. dial connects to an
// upstream whose list the rules restrict to the sample. It changes nothing but
// the stage.
func Check(ctx context.Context, j Job, dial func(ctx context.Context, rules []string) (Upstream, error)) (Checked, error) {
	s, err := openStage(j.Stage)
	if err != nil {
		return Checked{}, err
	}
	defer s.close()
	names, freshness, err := j.sample()
	if err != nil || len(names) == 0 {
		return Checked{}, err
	}
	c := checker{job: &j, dir: s.path(checkDir), names: names, freshness: freshness}
	if err := errors.Join(tree.Discard(c.dir), os.Mkdir(c.dir, 0o700)); err != nil {
		return Checked{}, fmt.Errorf("check: %w", err)
	}
	defer tree.Discard(c.dir)
	up, err := dial(ctx, rulesFor(names))
	if err != nil {
		return Checked{}, err
	}
	defer up.Close()
	return c.compare(ctx, up)
}

// sample picks files at random, and the freshness file, which it also returns.
func (j *Job) sample() (names []string, freshness string, err error) {
	root, err := tree.Open(j.Tree)
	if err != nil {
		return nil, "", fmt.Errorf("check: %w", err)
	}
	defer root.Close()
	chosen := map[string]bool{}
	left := int64(sampleBytes)
	take := func(name string, size int64) {
		if !chosen[name] && size <= left && plain(name) {
			chosen[name] = true
			names, left = append(names, name), left-size
		}
	}
	if f, err := root.Resolve(j.Project.Freshness.File); err == nil { // "" is no name
		if info, err := root.Stat(f); err == nil && info.IsRegular() {
			freshness = f
			take(f, info.Size)
		}
	}
	for range 8 * sampleFiles {
		if name, size := j.descend(root); name != "" {
			take(name, size)
		}
		if len(names) >= sampleFiles {
			break
		}
	}
	return names, freshness, nil
}

// plain reports whether a filter rule can name it without meaning more.
func plain(name string) bool { return !strings.ContainsAny(name, "*?[\\\n\r") }

// descend walks down from the root, each time into an entry chosen by chance, to
// a file that upstream should have.
func (j *Job) descend(root *tree.Root) (string, int64) {
	dir := "."
	for {
		entries, err := root.List(dir, nil)
		if err != nil || len(entries) == 0 {
			return "", 0
		}
		e := &entries[rand.IntN(len(entries))]
		name := path.Join(dir, e.Name)
		if _, gone := j.Gone[name]; gone || j.Own != nil && j.Own(name) {
			return "", 0
		}
		switch {
		case e.IsRegular():
			return name, e.Size
		case !e.IsDir():
			return "", 0
		}
		dir = name
	}
}

// rulesFor lets a list hold these files and nothing else.
func rulesFor(names []string) []string {
	var rules []string
	seen := map[string]bool{}
	for _, name := range names {
		var above []string
		for dir := path.Dir(name); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			above = append(above, dir)
		}
		for i := range above {
			rules = append(rules, "+ /"+above[len(above)-1-i]+"/")
		}
		rules = append(rules, "+ /"+name)
	}
	return append(rules, "- *")
}

// checker is one Check.
type checker struct {
	job       *Job
	dir       string
	names     []string
	freshness string // the one of them by which the project is judged
	found     Checked
}

// compare fetches upstream's versions of what it lists as equal.
func (c *checker) compare(ctx context.Context, up Upstream) (Checked, error) {
	list, err := up.List(ctx)
	if err != nil {
		return c.found, err
	}
	stage, err := os.OpenRoot(c.dir)
	if err != nil {
		return c.found, fmt.Errorf("check: %w", err)
	}
	defer stage.Close()
	bases, err := newBases(c.job.Tree, list)
	if err != nil {
		return c.found, fmt.Errorf("check: %w", err)
	}
	defer bases.close()
	same := c.listed(list)
	res, err := up.Transfer(ctx, client.Request{
		Files: same, Stage: stage, Dest: strconv.Itoa, Basis: bases.open,
	})
	if err != nil {
		return c.found, err
	}
	for _, i := range same {
		if res.Failed[i] != nil {
			continue // vanished or changed since it was listed
		}
		equal, err := sameContent(filepath.Join(c.dir, strconv.Itoa(i)), filepath.Join(c.job.Tree, list.Name(i)))
		if err != nil {
			return c.found, fmt.Errorf("check %q: %w", list.Name(i), err)
		}
		c.found.Compared++
		if !equal {
			c.found.Wrong = append(c.found.Wrong, list.Name(i))
		}
	}
	return c.found, nil
}

// listed returns the entries that are the tree's by size and time, and counts
// the others.
func (c *checker) listed(list *flist.List) []int {
	var same []int
	for _, name := range c.names {
		i, ok := list.Find(name)
		if ok && c.unchanged(list, i) {
			same = append(same, i)
			continue
		}
		c.found.Changed++
		if name == c.freshness {
			c.found.Behind = true
		}
	}
	return same
}

func (c *checker) unchanged(list *flist.List, i int) bool {
	info, err := os.Lstat(filepath.Join(c.job.Tree, list.Name(i)))
	if err != nil || list.Mode(i)&flist.ModeType != flist.ModeRegular {
		return false
	}
	sec, _ := list.ModTime(i)
	return info.Mode().IsRegular() && info.Size() == list.Size(i) && info.ModTime().Unix() == sec
}

func sameContent(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	var bufA, bufB [64 << 10]byte
	for {
		n, errA := io.ReadFull(fa, bufA[:])
		m, errB := io.ReadFull(fb, bufB[:])
		if n != m || !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return ended(errA) && ended(errB), errors.Join(unexpected(errA), unexpected(errB))
		}
	}
}

func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func unexpected(err error) error {
	if ended(err) {
		return nil
	}
	return err
}
