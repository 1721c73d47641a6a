package factory

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/hardware"
)

// box is a model whose card and processor may be given a file each.
func box() []hardware.Model {
	return []hardware.Model{{
		Devices:   []hardware.Device{{Firmware: []hardware.Firmware{{File: "rtl_nic/a.fw"}}}},
		Microcode: []hardware.Firmware{{File: "amd-ucode/1.bin"}, {File: "amd-ucode/2.bin"}, {File: "intel-ucode/06-3c-03"}},
	}}
}

// nonFreeBuild is a build whose packages are unpacked.
func nonFreeBuild(t *testing.T) *build {
	t.Helper()
	b := &build{Options: Options{Repository: t.TempDir(), Log: io.Discard, Firmware: NonFree}, models: box()}
	for name, content := range map[string]string{
		"firmware-realtek/usr/lib/firmware/rtl_nic/a.fw":                  "card",
		"firmware-realtek/usr/lib/firmware/rtl_nic/other.fw":              "not asked for",
		"amd64-microcode/lib/firmware/amd-ucode/1.bin":                    "one",
		"amd64-microcode/lib/firmware/amd-ucode/2.bin":                    "two",
		"intel-microcode/usr/lib/firmware/intel-ucode/06-3c-03.initramfs": "three",
		"firmware-realtek/usr/share/doc/firmware-realtek/copyright":       "terms",
		"amd64-microcode/usr/share/doc/amd64-microcode/copyright":         "terms",
		"intel-microcode/usr/share/doc/intel-microcode/copyright":         "terms",
	} {
		put(t, b, filepath.Join("build/debian/unpacked", name), content)
	}
	return b
}

// list reads all files below a folder.
func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(p)
		files[strings.TrimPrefix(p, dir+"/")] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFirmwareIsTakenAsHardwareNamesIt(t *testing.T) {
	b := nonFreeBuild(t)
	if err := b.takeFirmware(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"rtl_nic/a.fw": "card"}, list(t, b.firmwareDir())); d != "" {
		t.Errorf("for drivers (-want +got):\n%s", d)
	}
	early := map[string][]byte{"kernel/x86/microcode/AuthenticAMD.bin": []byte("onetwo"), "kernel/x86/microcode/GenuineIntel.bin": []byte("three")}
	if d := cmp.Diff(early, b.microcode); d != "" {
		t.Errorf("early (-want +got):\n%s", d)
	}
	var noted []string
	for _, f := range b.firmware {
		noted = append(noted, f.Package+" "+f.File)
	}
	want := []string{"firmware-realtek rtl_nic/a.fw", "amd64-microcode amd-ucode/1.bin", "amd64-microcode amd-ucode/2.bin", "intel-microcode intel-ucode/06-3c-03"}
	if d := cmp.Diff(want, noted); d != "" {
		t.Errorf("noted (-want +got):\n%s", d)
	}

	etc := t.TempDir()
	if err := b.stageLicences(etc); err != nil {
		t.Fatal(err)
	}
	terms := map[string]string{"licences/firmware-realtek": "terms", "licences/amd64-microcode": "terms", "licences/intel-microcode": "terms"}
	if d := cmp.Diff(terms, list(t, etc)); d != "" {
		t.Errorf("terms (-want +got):\n%s", d)
	}
	if got := b.licence(len(debian)); got != "non-free-firmware, see /etc/micromirror/licences/firmware-realtek" || b.licence(kernelDeb) != "" {
		t.Errorf("licence: %q, of the kernel %q", got, b.licence(kernelDeb))
	}
}

func TestFirmwareIsOffUnlessAskedFor(t *testing.T) {
	b := nonFreeBuild(t)
	b.Firmware = ""
	if err := b.takeFirmware(t.Context()); err != nil {
		t.Fatal(err)
	}
	etc := t.TempDir()
	if err := b.stageLicences(etc); err != nil {
		t.Fatal(err)
	}
	if len(b.firmware)+len(b.microcode)+len(list(t, etc)) > 0 {
		t.Errorf("noted %v, early %v, terms %v", b.firmware, b.microcode, list(t, etc))
	}
	if d := cmp.Diff(debian, b.wants()); d != "" {
		t.Errorf("packages (-want +got):\n%s", d)
	}
}

func TestFirmwareRefuses(t *testing.T) {
	b := nonFreeBuild(t)
	b.models[0].Devices[0].Firmware[0].File = "rtl_nic/none.fw"
	if err := b.takeFirmware(t.Context()); err == nil || !strings.Contains(err.Error(), "rtl_nic/none.fw, which is in none of firmware-realtek") {
		t.Errorf("a file that no package has: %v", err)
	}
	if err := os.Remove(filepath.Join(b.unpacked(len(debian)), "usr/share/doc/firmware-realtek/copyright")); err != nil {
		t.Fatal(err)
	}
	if err := b.stageLicences(t.TempDir()); err == nil || !strings.Contains(err.Error(), "terms of firmware-realtek") {
		t.Errorf("a package without terms: %v", err)
	}
	if _, err := Build(t.Context(), Options{Firmware: "free"}); err == nil || !strings.Contains(err.Error(), `"free" is not known`) {
		t.Errorf("an unknown switch: %v", err)
	}
}

func TestShippedFirmware(t *testing.T) {
	b := nonFreeBuild(t)
	if _, err := b.ShippedFirmware(); err == nil || !strings.Contains(err.Error(), "build a release first") {
		t.Errorf("without a release: %v", err)
	}
	put(t, b, "build/release/manifest.json", `{"firmware": [{"file": "rtl_nic/a.fw", "package": "p"}]}`)
	got, err := b.ShippedFirmware()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"rtl_nic/a.fw"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
