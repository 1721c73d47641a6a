package factory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"micromirror/packages/deb"
	"micromirror/packages/hardware"
)

// NonFree, as Options.Firmware, puts into an image what Debian keeps apart because
// nobody but its maker can change it: of the packages below, the files that
// hardware/ names. Drivers find theirs in /lib/firmware of the root file system,
// microcode lies in front of the initramfs. The packages' terms, which allow to
// pass them on with the terms, go along in /etc/micromirror/licences.
const NonFree = "non-free"

// component is where Debian's suites have them.
const component = "non-free-firmware"

func nonFree() []deb.Want {
	return []deb.Want{
		{Suite: "trixie", Name: "firmware-realtek", Component: component},
		{Suite: "trixie", Name: "amd64-microcode", Component: component},
		{Suite: "trixie", Name: "intel-microcode", Component: component},
	}
}

// Firmware is a file of the image that is not free software.
type Firmware struct {
	File    string `json:"file"` // below /lib/firmware
	Package string `json:"package"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
}

// wants are the Debian packages of this build.
func (o Options) wants() []deb.Want {
	if o.Firmware == "" {
		return debian
	}
	return slices.Concat(debian, nonFree())
}

// licence says where the terms of a package are that is not free.
func (o Options) licence(i int) string {
	if w := o.wants()[i]; w.Component != "" {
		return w.Component + ", see /etc/micromirror/" + licenceFile(w.Name)
	}
	return ""
}

func licenceFile(name string) string { return filepath.Join("licences", name) }

func (b *build) firmwareDir() string { return filepath.Join(b.work(), "firmware") }

// takeFirmware collects the files that hardware/ names: those for drivers in a
// folder for the root, microcode for the initramfs.
func (b *build) takeFirmware(context.Context) error {
	if b.Firmware == "" {
		return nil
	}
	if err := os.RemoveAll(b.firmwareDir()); err != nil {
		return err
	}
	for _, file := range hardware.FirmwareFiles(b.models) {
		content, err := b.firmwareFile(file)
		if err != nil {
			return err
		}
		to := filepath.Join(b.firmwareDir(), file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o644)); err != nil {
			return err
		}
	}
	b.microcode = map[string][]byte{}
	for _, file := range hardware.MicrocodeFiles(b.models) {
		content, err := b.firmwareFile(file)
		if err != nil {
			return err
		}
		name := hardware.EarlyName(file)
		b.microcode[name] = append(b.microcode[name], content...)
	}
	return nil
}

// firmwareFile reads a file of one of the packages and notes it for the manifest.
func (b *build) firmwareFile(file string) ([]byte, error) {
	var names []string
	for i, w := range b.wants() {
		if w.Component == "" {
			continue
		}
		names = append(names, w.Name)
		for _, path := range placesOf(file) {
			path = filepath.Join(b.unpacked(i), path)
			size, sum, err := hashFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			b.firmware = append(b.firmware, Firmware{file, w.Name, size, sum})
			return os.ReadFile(path)
		}
	}
	return nil, fmt.Errorf("hardware/ names %s, which is in none of %s; correct the name there", file, strings.Join(names, ", "))
}

// placesOf are where a package may have a file. Debian has moved /lib, and gives
// another name to microcode that must not come late.
func placesOf(file string) (paths []string) {
	for _, dir := range []string{"usr/lib/firmware", "lib/firmware"} {
		paths = append(paths, filepath.Join(dir, file), filepath.Join(dir, file+".initramfs"))
	}
	return paths
}

// stageLicences puts the terms of what is not free into a folder of the image.
func (b *build) stageLicences(etc string) error {
	for i, w := range b.wants() {
		if w.Component == "" {
			continue
		}
		to := filepath.Join(etc, licenceFile(w.Name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(b.unpacked(i), "usr/share/doc", w.Name, "copyright"), to); err != nil {
			return fmt.Errorf("terms of %s, without which it must not be passed on: %w", w.Name, err)
		}
	}
	return nil
}

// checkFirmware refuses a switch that does not exist.
func (o Options) checkFirmware() error {
	if o.Firmware != "" && o.Firmware != NonFree {
		return fmt.Errorf("firmware: %q is not known; it is %q, or left out", o.Firmware, NonFree)
	}
	return nil
}

// ShippedFirmware lists what of firmware the release in Out has.
func (o Options) ShippedFirmware() (files []string, err error) {
	b, err := os.ReadFile(filepath.Join(o.Out(), ManifestFile))
	if err != nil {
		return nil, fmt.Errorf("%w (build a release first: make image)", err)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", ManifestFile, err)
	}
	for _, f := range m.Firmware {
		files = append(files, f.File)
	}
	return files, nil
}
