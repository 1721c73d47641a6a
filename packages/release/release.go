// Package release describes a built release: a directory with kernel, initramfs,
// root image, boot loader and /perm template, and release.json, which names each
// with size and hash.
//
// Promise: what Verify accepts is complete and is what the build wrote. Every
// error names the file and what to do about it. The package writes release.json
// only.
package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"micromirror/packages/durable"
	"micromirror/packages/verity"
)

// Names of the files in a release directory.
const (
	FileName   = "release.json"
	KernelFile = "vmlinuz"
	InitrdFile = "initrd"
	RootFile   = "root.img"
	LoaderFile = "loader.efi"
	PermFile   = "perm.ext4.zst"
)

// Release is the content of release.json.
type Release struct {
	Version  string    `json:"version"` // for people; order is by generation
	Built    time.Time `json:"built"`
	Kernel   File      `json:"kernel"`
	Initrd   File      `json:"initrd"`
	Root     Root      `json:"root"` // squashfs with hash tree
	Loader   Loader    `json:"loader"`
	Perm     File      `json:"perm"`     // template of /perm
	Hardware []string  `json:"hardware"` // models that it runs on
	Options  string    `json:"options"`  // kernel command line but for root= and verity=
	// Rescue is that the initramfs knows what a rescue stick is (package rescue); with
	// one that does not a stick would start as a node.
	Rescue bool `json:"rescue,omitempty"`
}

// File is one file of the release.
type File struct {
	Name   string `json:"file"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Root is the root image.
type Root struct {
	File
	Verity verity.Tree `json:"verity"`
}

// Loader is the boot loader.
type Loader struct {
	File
	Version string `json:"version"`
}

const remedy = `; run "make image" again`

// Describe returns name, size and hash of a file in dir.
func Describe(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, fmt.Errorf("hash %s: %w", f.Name(), err)
	}
	return File{Name: name, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// Write fills in sizes and hashes of the files in dir and writes release.json;
// version, time, verity tree, loader version, hardware and options are r's.
func Write(dir string, r Release) error {
	for _, f := range r.named() {
		d, err := Describe(dir, f.name)
		if err != nil {
			return fmt.Errorf("write release: %w", err)
		}
		*f.file = d
	}
	if err := r.validate(); err != nil {
		return fmt.Errorf("write release: %w", err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write release: %w", err)
	}
	return durable.WriteFile(filepath.Join(dir, FileName), append(b, '\n'), 0o644)
}

// Read returns the release in dir without looking at its files.
func Read(dir string) (*Release, error) {
	path := filepath.Join(dir, FileName)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read release: %w%s", err, remedy)
	}
	r, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("read release: %s: %w%s", path, err, remedy)
	}
	return r, nil
}

// Parse reads the content of release.json. Unknown keys are ignored: a newer
// release may have them.
func Parse(b []byte) (*Release, error) {
	var r Release
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	return &r, r.validate()
}

// Verify reads the release in dir and checks every file's size and hash.
func Verify(ctx context.Context, dir string) (*Release, error) {
	r, err := Read(dir)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, f := range r.named() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		problems = append(problems, check(dir, *f.file))
	}
	return r, errors.Join(problems...)
}

func check(dir string, want File) error {
	path := filepath.Join(dir, want.Name)
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("verify release: %w%s", err, remedy)
	}
	if st.Size() != want.Size {
		return fmt.Errorf("verify release: %s has %d bytes, %s says %d%s", path, st.Size(), FileName, want.Size, remedy)
	}
	got, err := Describe(dir, want.Name)
	if err != nil {
		return fmt.Errorf("verify release: %w%s", err, remedy)
	}
	if got.SHA256 != want.SHA256 {
		return fmt.Errorf("verify release: %s does not match its hash in %s%s", path, FileName, remedy)
	}
	return nil
}

type named struct {
	key, name string
	file      *File
}

func (r *Release) named() []named {
	return []named{
		{"kernel", KernelFile, &r.Kernel}, {"initrd", InitrdFile, &r.Initrd}, {"root", RootFile, &r.Root.File},
		{"loader", LoaderFile, &r.Loader.File}, {"perm", PermFile, &r.Perm},
	}
}

var versionForm = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}$`)

func (r *Release) validate() error {
	var problems []error
	bad := func(field string, value any, want string) {
		problems = append(problems, fmt.Errorf("%s: %q is not %s", field, value, want))
	}
	if !versionForm.MatchString(r.Version) {
		bad("version", r.Version, "up to 64 letters, digits and .+~-")
	}
	for _, f := range r.named() {
		if f.file.Name != f.name {
			bad(f.key+".file", f.file.Name, f.name)
		}
		if b, err := hex.DecodeString(f.file.SHA256); err != nil || len(b) != sha256.Size {
			bad(f.key+".sha256", f.file.SHA256, "64 hexadecimal digits")
		}
		if f.file.Size <= 0 {
			bad(f.key+".size", fmt.Sprint(f.file.Size), "a positive number")
		}
	}
	if err := r.Root.Verity.Validate(); err != nil {
		problems = append(problems, fmt.Errorf("root.verity: %w", err))
	}
	if strings.ContainsFunc(r.Options, func(c rune) bool { return c < ' ' || c > '~' }) {
		bad("options", r.Options, "printable ASCII on one line")
	}
	for _, word := range strings.Fields(r.Options) {
		if strings.HasPrefix(word, "root=") || strings.HasPrefix(word, "verity=") {
			bad("options", word, "for a release to say: it depends on disk and slot")
		}
	}
	return errors.Join(problems...)
}
