package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Entry is what a mirror must keep of a file.
type Entry struct {
	Mode  fs.FileMode
	Size  int64  // of regular files
	Time  int64  // modification time, seconds; 0 for folders
	Link  string // target of a symlink
	Group string // first name, in byte order, of those that are this one file
	Hash  string // SHA-256 of the content
}

// Manifest describes a tree; keys are slash-separated names, "." is its root.
type Manifest map[string]Entry

// Scan describes the tree at dir.
func Scan(dir string) (Manifest, error) {
	m, inodes := Manifest{}, map[uint64][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		e, inode, err := scanOne(path, d)
		if err != nil {
			return err
		}
		if inode != 0 {
			inodes[inode] = append(inodes[inode], name)
		}
		m[name] = e
		return nil
	})
	for _, names := range inodes {
		m.group(names)
	}
	if err != nil {
		return nil, fmt.Errorf("scan %s: %w", dir, err)
	}
	return m, nil
}

// group notes that several names are one file. A second name outside the tree
// does not count.
func (m Manifest) group(names []string) {
	if len(names) < 2 {
		return
	}
	slices.Sort(names)
	for _, name := range names {
		e := m[name]
		e.Group = names[0]
		m[name] = e
	}
}

// scanOne describes one file; inode is 0 unless it has several names.
func scanOne(path string, d fs.DirEntry) (e Entry, inode uint64, err error) {
	st, err := d.Info()
	if err != nil {
		return Entry{}, 0, err
	}
	e = Entry{Mode: st.Mode()}
	switch {
	case st.IsDir():
		return e, 0, nil
	case st.Mode().Type() == fs.ModeSymlink:
		e.Link, err = os.Readlink(path)
		return e, 0, err
	case !st.Mode().IsRegular():
		return e, 0, nil
	}
	e.Size, e.Time = st.Size(), st.ModTime().Unix()
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Nlink > 1 {
		inode = sys.Ino
	}
	f, err := os.Open(path)
	if err != nil {
		return e, inode, err
	}
	defer f.Close()
	e.Hash, _, err = hash(f)
	return e, inode, err
}

func hash(r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// Diff names what is different in got, one line each, sorted. Names that ignore
// accepts are not looked at: a mirror adds files of its own.
func Diff(want, got Manifest, ignore func(name string) bool) []string {
	var out []string
	names := maps.Clone(want)
	maps.Copy(names, got)
	for name := range names {
		w, wanted := want[name]
		g, there := got[name]
		switch {
		case ignore != nil && ignore(name) || w == g && wanted == there:
		case !there:
			out = append(out, fmt.Sprintf("%q is missing", name))
		case !wanted:
			out = append(out, fmt.Sprintf("%q is not upstream", name))
		default:
			out = append(out, fmt.Sprintf("%q: want %+v, got %+v", name, w, g))
		}
	}
	slices.Sort(out)
	return out
}

// DiffHTTP asks the web server at base for everything in the tree dir and names
// what differs in content, size, Last-Modified or status. A file without o+r must
// be refused with 403, a symlink to nowhere must be 404.
func DiffHTTP(ctx context.Context, dir, base string) ([]string, error) {
	want, err := Scan(dir)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	var out []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		diff, err := diffOne(ctx, client, dir, base, name)
		if err != nil {
			return out, fmt.Errorf("compare %q with upstream: %w", name, err)
		}
		if diff != "" {
			out = append(out, fmt.Sprintf("%q: %s", name, diff))
		}
	}
	return out, nil
}

// diffOne compares what is served for one name with what the name leads to on
// disk, through symlinks.
func diffOne(ctx context.Context, client *http.Client, dir, base, name string) (string, error) {
	path := filepath.Join(dir, name)
	status := http.StatusOK
	st, err := os.Stat(path)
	switch {
	case err != nil:
		status = http.StatusNotFound
	case !readable(dir, name):
		status = http.StatusForbidden
	}
	link := strings.TrimSuffix(base, "/") + "/" + escape(name)
	if err == nil && st.IsDir() && name != "." {
		link += "/"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		return fmt.Sprintf("status %d, want %d", resp.StatusCode, status), nil
	}
	if status != http.StatusOK || st.IsDir() {
		return "", nil
	}
	return diffContent(resp, path, st)
}

func diffContent(resp *http.Response, path string, st fs.FileInfo) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	want, size, err := hash(f)
	if err != nil {
		return "", err
	}
	got, n, err := hash(resp.Body)
	if err != nil {
		return "", err
	}
	modified, date := st.ModTime().UTC().Format(http.TimeFormat), resp.Header.Get("Last-Modified")
	switch {
	case n != size || resp.ContentLength != size:
		return fmt.Sprintf("%d bytes, Content-Length %d, want %d", n, resp.ContentLength, size), nil
	case got != want:
		return "other content", nil
	case date != modified:
		return fmt.Sprintf("Last-Modified %q, want %q", date, modified), nil
	case resp.Header.Get("Content-Encoding") != "":
		return "has a Content-Encoding", nil
	}
	return "", nil
}

// readable says whether everybody may read the file and pass the folders to it.
func readable(dir, name string) bool {
	for rest := name; rest != "."; rest = filepath.Dir(rest) {
		st, err := os.Stat(filepath.Join(dir, rest))
		if err != nil || st.Mode()&0o004 == 0 || st.IsDir() && st.Mode()&0o001 == 0 {
			return false
		}
	}
	return true
}

// escape makes a name the path of a URL, byte by byte where it is no UTF-8.
func escape(name string) string {
	if name == "." {
		return ""
	}
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
