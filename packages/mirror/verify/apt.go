package verify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"micromirror/packages/rsync/flist"
)

// release checks a Release or InRelease file and the package indexes below it.
func (in *Input) release(i int) error {
	f, err := in.Open(i)
	if err != nil {
		return err
	}
	defer f.Close()
	dir := path.Dir(in.List.Name(i))
	refs, byHash, err := parseRelease(f, dir)
	if err != nil {
		return err
	}
	changed := map[string]int{} // package indexes by name without suffix
	for _, r := range refs {
		e, err := in.match(r)
		if err != nil {
			return err
		}
		if byHash && e >= 0 {
			if err := in.byHash(r); err != nil {
				return err
			}
		}
		stem, ok := packageIndex(r.name)
		if e < 0 || !ok || !in.looks(e) || in.List.Mode(e)&flist.ModeType != flist.ModeRegular {
			continue
		}
		if old, ok := changed[stem]; !ok || cost(in.List.Base(e)) < cost(in.List.Base(old)) {
			changed[stem] = e
		}
	}
	for _, e := range changed {
		if err := in.packages(e, archiveRoot(dir)); err != nil {
			return fmt.Errorf("%q: %w", in.List.Name(e), err)
		}
	}
	return nil
}

// byHash checks that an index file is also there under its sum, where clients of
// today look for it. An archive that keeps no such folder beside the file does
// not offer that.
func (in *Input) byHash(r reference) error {
	folder := path.Join(path.Dir(r.name), "by-hash/SHA256")
	if _, ok := in.List.Find(folder); !ok {
		return nil
	}
	_, err := in.need(reference{name: path.Join(folder, r.sha256), size: r.size, sha256: r.sha256})
	return err
}

// archiveRoot is the folder that Filename and Directory fields count from.
func archiveRoot(dir string) string {
	if i := strings.LastIndex("/"+dir+"/", "/dists/"); i >= 0 {
		return strings.Trim(("/" + dir)[:i], "/")
	}
	return dir
}

// packageIndex reports whether a name is that of a Packages or Sources file in
// some compression, and returns it without.
func packageIndex(name string) (string, bool) {
	stem := strings.TrimSuffix(name, path.Ext(name))
	if path.Ext(name) == "" {
		stem = name
	}
	base := path.Base(stem)
	return stem, (base == "Packages" || base == "Sources") && cost(name) < unreadable
}

// maxFields bounds a Release file's lines.
const maxFields = 1 << 20

// parseRelease returns what the SHA256 section names, and whether clients may
// ask for it by hash. Without such a section there is nothing to compare.
func parseRelease(r io.Reader, dir string) (refs []reference, byHash bool, err error) {
	section := ""
	lines := bufio.NewScanner(io.LimitReader(r, 64<<20))
	for n := 0; lines.Scan(); n++ {
		line := lines.Text()
		if n > maxFields {
			return nil, false, errors.New("has too many lines")
		}
		if !strings.HasPrefix(line, " ") {
			var text string
			section, text, _ = strings.Cut(line, ":")
			byHash = byHash || section == "Acquire-By-Hash" && strings.TrimSpace(text) == "yes"
			continue
		}
		if section != "SHA256" {
			continue
		}
		f := strings.Fields(line)
		if len(f) != 3 || len(f[0]) != 64 {
			return nil, false, fmt.Errorf("line %.80q is not sum, size and name", line)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return nil, false, fmt.Errorf("line %.80q has no size", line)
		}
		name, err := within(dir, f[2])
		if err != nil {
			return nil, false, err
		}
		refs = append(refs, reference{name: name, size: size, sha256: strings.ToLower(f[0])})
	}
	return refs, byHash, lines.Err()
}

// packages checks that every file that a Packages or Sources file names is there
// with its size.
func (in *Input) packages(i int, root string) error {
	f, err := in.Open(i)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := decompress(in.List.Base(i), f)
	if err != nil {
		return err
	}
	defer r.Close()
	return parsePackages(r, root, func(ref reference) error {
		_, err := in.need(ref)
		return err
	})
}

// stanza is what matters of one package's fields.
type stanza struct {
	filename, directory string
	sha256              string
	size                int64
	files               []reference // of a source package, relative to directory
}

// parsePackages hands each file that is named to use.
func parsePackages(r io.Reader, root string, use func(reference) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), 4<<20)
	s, field := stanza{size: -1}, ""
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if err := s.flush(root, use); err != nil {
				return err
			}
			s = stanza{size: -1}
			continue
		}
		var err error
		if field, err = s.line(line, field); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return s.flush(root, use)
}

// line takes one line of a stanza and returns the field that it belongs to.
func (s *stanza) line(line, field string) (string, error) {
	if line[0] == ' ' || line[0] == '\t' {
		if field != "Checksums-Sha256" {
			return field, nil
		}
		f := strings.Fields(line)
		if len(f) != 3 {
			return field, fmt.Errorf("line %.80q is not sum, size and name", line)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return field, fmt.Errorf("line %.80q has no size", line)
		}
		s.files = append(s.files, reference{name: f[2], size: size, sha256: strings.ToLower(f[0])})
		return field, nil
	}
	field, text, _ := strings.Cut(line, ":")
	text = strings.TrimSpace(text)
	var err error
	switch field {
	case "Filename":
		s.filename = text
	case "Directory":
		s.directory = text
	case "SHA256":
		s.sha256 = strings.ToLower(text)
	case "Size":
		s.size, err = strconv.ParseInt(text, 10, 64)
	}
	return field, err
}

func (s *stanza) flush(root string, use func(reference) error) error {
	if s.filename != "" {
		s.files = append(s.files, reference{name: s.filename, size: s.size, sha256: s.sha256})
		s.directory = ""
	}
	for _, f := range s.files {
		name, err := within(root, path.Join(s.directory, f.name))
		if err != nil {
			return err
		}
		if err := use(reference{name: name, size: f.size, sha256: f.sha256}); err != nil {
			return err
		}
	}
	return nil
}
