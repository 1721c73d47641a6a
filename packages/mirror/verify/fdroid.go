package verify

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// maxJar bounds a signed index, which is kept in memory.
const maxJar = 64 << 20

// fdroidFile is a file as F-Droid's indexes name it: relative to the repository,
// with a slash in front.
type fdroidFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   *int64 `json:"size"`
}

func (f *fdroidFile) in(dir string) (reference, error) {
	name, err := within(dir, strings.TrimPrefix(f.Name, "/"))
	r := reference{name: name, size: -1, sha256: strings.ToLower(f.SHA256)}
	if f.Size != nil {
		r.size = *f.Size
	}
	return r, err
}

// fdroidEntry checks the signed entry.jar, which names the index and its
// differences to earlier ones, and the packages that the index names.
func (in *Input) fdroidEntry(i int) error {
	text, err := in.jarMember(i, "entry.json")
	if err != nil {
		return err
	}
	var entry struct {
		Index fdroidFile            `json:"index"`
		Diffs map[string]fdroidFile `json:"diffs"`
	}
	if err := json.Unmarshal(text, &entry); err != nil {
		return err
	}
	dir := path.Dir(in.List.Name(i))
	for _, diff := range entry.Diffs {
		if _, err := in.needFdroid(&diff, dir); err != nil {
			return err
		}
	}
	index, err := in.needFdroid(&entry.Index, dir)
	if err != nil || index < 0 || !in.looks(index) {
		return err
	}
	f, err := in.Open(index)
	if err != nil {
		return err
	}
	defer f.Close()
	err = fdroidIndex(io.LimitReader(f, maxPlain), func(f *fdroidFile) error {
		_, err := in.needFdroid(f, dir)
		return err
	})
	if err != nil {
		return fmt.Errorf("%q: %w", in.List.Name(index), err)
	}
	return nil
}

func (in *Input) needFdroid(f *fdroidFile, dir string) (int, error) {
	r, err := f.in(dir)
	if err != nil {
		return -1, err
	}
	return in.need(r)
}

// jarMember reads one file of a signed index.
func (in *Input) jarMember(i int, name string) ([]byte, error) {
	f, err := in.Open(i)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	jar, err := io.ReadAll(io.LimitReader(f, maxJar+1))
	if err != nil {
		return nil, err
	}
	if len(jar) > maxJar {
		return nil, fmt.Errorf("more than %d bytes", maxJar)
	}
	return jarMember(jar, name)
}

func jarMember(jar []byte, name string) ([]byte, error) {
	z, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		return nil, err
	}
	m, err := z.Open(name)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	text, err := io.ReadAll(io.LimitReader(m, maxJar+1))
	if err == nil && len(text) > maxJar {
		err = fmt.Errorf("%s: more than %d bytes", name, maxJar)
	}
	return text, err
}

// fdroidIndex hands the files of every version of every package to use, one
// package in memory at a time.
func fdroidIndex(r io.Reader, use func(*fdroidFile) error) error {
	d := json.NewDecoder(r)
	return eachValue(d, func(key string) error {
		if key != "packages" {
			var other json.RawMessage
			return d.Decode(&other)
		}
		return eachValue(d, func(string) error {
			var p struct {
				Versions map[string]struct {
					File   fdroidFile  `json:"file"`
					Source *fdroidFile `json:"src"`
				} `json:"versions"`
			}
			if err := d.Decode(&p); err != nil {
				return err
			}
			for _, v := range p.Versions {
				if err := use(&v.File); err != nil {
					return err
				}
				if v.Source == nil {
					continue
				}
				if err := use(v.Source); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

var errNoObject = errors.New("no JSON object where one must be")

// eachValue calls use at each value of the object that comes next.
func eachValue(d *json.Decoder, use func(key string) error) error {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(err, errNoObject)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string) // of an object it is one
		if err := use(name); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}
