package vm

import (
	"errors"
	"os"
	"path/filepath"
)

const qemuBinary = "qemu-system-x86_64"

// Firmware is a pair of UEFI flash images.
type Firmware struct {
	Code string // read-only
	Vars string // template of the variables; every machine gets its own copy
}

// FindFirmware finds Debian's OVMF (package ovmf, 2022.11 of Debian 12 or newer).
func FindFirmware() (Firmware, error) {
	const dir = "/usr/share/OVMF"
	for _, size := range []string{"_4M", ""} {
		fw := Firmware{filepath.Join(dir, "OVMF_CODE"+size+".fd"), filepath.Join(dir, "OVMF_VARS"+size+".fd")}
		if exists(fw.Code) && exists(fw.Vars) {
			return fw, nil
		}
	}
	return Firmware{}, errors.New("find UEFI firmware: no OVMF_CODE and OVMF_VARS in " + dir + "; install the package ovmf")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
