package factory

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"micromirror/packages/durable"
	"micromirror/packages/release"
)

// Names of what a build leaves in the release folder beside the release itself;
// the image carries both in /etc/micromirror.
const (
	ManifestFile = "manifest.json"
	SBOMFile     = "sbom.cdx.json" // CycloneDX
)

// Module is a Go module that is linked into a program of the image.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	Sum     string `json:"sum"` // as in go.sum: h1: and base64 of a SHA-256
}

// DebianPackage is a package that a file of the image was taken from.
type DebianPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Suite   string `json:"suite"`
	SHA256  string `json:"sha256"` // of the .deb, hexadecimal
	// Licence says so if it is not free software.
	Licence string `json:"licence,omitempty"`
}

// Manifest lists what went into a release. The image carries it as
// /etc/micromirror/manifest.json.
type Manifest struct {
	Version string          `json:"version"`
	Built   string          `json:"built"` // RFC 3339
	Go      string          `json:"go"`
	Tags    []string        `json:"tags,omitempty"`
	Modules []Module        `json:"modules"`
	Debian  []DebianPackage `json:"debian"`
	// Firmware lists what the build switch of that name has brought in.
	Firmware []Firmware `json:"firmware,omitempty"`
	Files    []FileSum  `json:"files"`
}

// FileSum is a file of the release that is not built from the modules alone.
type FileSum struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// programs are the import paths of everything that runs on a node, as
// config.json names them, with the initramfs' program and gokrazy's init.
func (b *build) programs() ([]string, error) {
	c, err := readInstance(b.Repository)
	if err != nil {
		return nil, err
	}
	return append(c.packages(), "micromirror/cmd/initrd", "github.com/gokrazy/gokrazy"), nil
}

// modules asks the go command which modules the programs are linked from.
func (b *build) modules(ctx context.Context) ([]Module, error) {
	programs, err := b.programs()
	if err != nil {
		return nil, err
	}
	args := append([]string{"list", "-deps", "-tags", strings.Join(b.tags(), ","),
		"-f", "{{with .Module}}{{if .Version}}{{.Path}} {{.Version}}{{end}}{{end}}"}, programs...)
	cmd := b.command(ctx, "go", args...)
	cmd.Env = b.targetEnv()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.Bytes())
	}
	sums, err := readSums(filepath.Join(b.Repository, "go.sum"))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	var mods []Module
	for _, l := range slices.Compact(lines) {
		if path, version, ok := strings.Cut(l, " "); ok {
			mods = append(mods, Module{path, version, sums[l]})
		}
	}
	return mods, nil
}

// readSums returns the module sums of a go.sum file, keyed "path version".
func readSums(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sums := map[string]string{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if p := strings.Fields(sc.Text()); len(p) == 3 && !strings.HasSuffix(p[1], "/go.mod") {
			sums[p[0]+" "+p[1]] = p[2]
		}
	}
	return sums, nil
}

func (b *build) writeManifest(ctx context.Context) error {
	mods, err := b.modules(ctx)
	if err != nil {
		return err
	}
	m := Manifest{
		Version: b.version, Built: b.built, Go: runtime.Version(), Tags: b.Tags,
		Modules: mods, Debian: b.debian, Firmware: b.firmware,
	}
	for _, name := range []string{release.KernelFile, release.InitrdFile, release.LoaderFile, release.PermFile} {
		size, sum, err := hashFile(filepath.Join(b.Out(), name))
		if err != nil {
			return err
		}
		m.Files = append(m.Files, FileSum{name, size, sum})
	}
	if err := writeJSON(filepath.Join(b.Out(), ManifestFile), m); err != nil {
		return err
	}
	return b.writeSBOM(m)
}

// writeSBOM writes the manifest in the CycloneDX JSON format.
func (b *build) writeSBOM(m Manifest) error {
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: m.Built,
		Component: &cdx.Component{Type: cdx.ComponentTypeOS, Name: "micromirror", Version: m.Version},
	}
	var parts []cdx.Component
	for _, mod := range m.Modules {
		purl := "pkg:golang/" + mod.Path + "@" + mod.Version
		parts = append(parts, cdx.Component{
			BOMRef: purl, PackageURL: purl, Type: cdx.ComponentTypeLibrary, Name: mod.Path, Version: mod.Version,
		})
	}
	for _, d := range m.Debian {
		purl := "pkg:deb/debian/" + d.Name + "@" + d.Version + "?arch=amd64"
		parts = append(parts, cdx.Component{
			BOMRef: purl, PackageURL: purl, Type: cdx.ComponentTypeApplication, Name: d.Name, Version: d.Version,
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: d.SHA256}},
		})
		if d.Licence != "" {
			parts[len(parts)-1].Licenses = &cdx.Licenses{{License: &cdx.License{Name: d.Licence}}}
		}
	}
	bom.Components = &parts
	var buf bytes.Buffer
	if err := cdx.NewBOMEncoder(&buf, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return fmt.Errorf("encode sbom: %w", err)
	}
	return durable.WriteFile(filepath.Join(b.Out(), SBOMFile), buf.Bytes(), 0o644)
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return durable.WriteFile(path, append(data, '\n'), 0o644)
}
