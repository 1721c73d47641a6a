package hardware

import (
	"path"
	"slices"
)

// FirmwareFiles lists what the models' devices may be given by their drivers, and
// MicrocodeFiles what their processors may be, both as paths below /lib/firmware.
func FirmwareFiles(models []Model) (files []string) {
	for _, m := range models {
		for _, d := range m.Devices {
			files = append(files, names(d.Firmware)...)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// MicrocodeFiles is the other half of FirmwareFiles.
func MicrocodeFiles(models []Model) (files []string) {
	for _, m := range models {
		files = append(files, names(m.Microcode)...)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

func names(list []Firmware) (files []string) {
	for _, f := range list {
		files = append(files, f.File)
	}
	return files
}

// EarlyName is where in front of the initramfs the kernel looks for a file of
// microcode, with all others of the maker, or empty for a file that is none.
func EarlyName(file string) string {
	maker := map[string]string{"amd-ucode": "AuthenticAMD", "intel-ucode": "GenuineIntel"}[path.Dir(file)]
	if maker == "" {
		return ""
	}
	return "kernel/x86/microcode/" + maker + ".bin"
}
