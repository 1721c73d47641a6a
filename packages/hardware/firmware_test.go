package hardware_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/hardware"
)

// Every real model says what its processor and its RTL8168 could be given.
func TestFirmwareOfTheRepository(t *testing.T) {
	all := models(t)
	for _, m := range all {
		if m.Model != "qemu" && len(m.Microcode) == 0 {
			t.Errorf("%s names no microcode", m.Model)
		}
		for _, d := range m.Devices {
			if d.Driver == "r8169" && len(d.Firmware) == 0 {
				t.Errorf("%s: %s names no firmware", m.Model, d.ID)
			}
		}
	}
	if files := hardware.FirmwareFiles(all); !slices.Contains(files, "rtl_nic/rtl8168g-2.fw") || !slices.IsSorted(files) {
		t.Errorf("firmware: %v", files)
	}
	want := []string{"amd-ucode/microcode_amd_fam16h.bin", "amd-ucode/microcode_amd_fam17h.bin", "intel-ucode/06-3c-03"}
	if d := cmp.Diff(want, hardware.MicrocodeFiles(all)); d != "" {
		t.Errorf("microcode (-want +got):\n%s", d)
	}
}

func TestEarlyName(t *testing.T) {
	for file, want := range map[string]string{
		"amd-ucode/microcode_amd_fam16h.bin": "kernel/x86/microcode/AuthenticAMD.bin",
		"intel-ucode/06-3c-03":               "kernel/x86/microcode/GenuineIntel.bin",
		"rtl_nic/rtl8168g-2.fw":              "",
		"amd-ucode":                          "",
	} {
		if got := hardware.EarlyName(file); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}
