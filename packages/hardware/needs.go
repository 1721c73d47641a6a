package hardware

import (
	"maps"
	"slices"
)

// Need is a kernel module that an image must carry, and for whom.
type Need struct {
	Module string
	By     []string // models, and "netd", "initrd", … for programs
	Initrd bool     // needed before the root file system is there
}

// Needs lists the modules for the models and for the programs of the image,
// sorted by name, without what these depend on.
func Needs(models []Model) []Need {
	n := collector{}
	for _, m := range models {
		for _, d := range m.Devices {
			if d.Driver != "" {
				n.add(d.Driver, m.Model, packed(d.Role))
			}
		}
		for _, e := range m.Modules {
			n.add(e.Module, m.Model, packed(e.Role))
		}
		for _, w := range m.Watchdog {
			for _, a := range append(slices.Clone(w.After), w.Driver) {
				n.add(a, m.Model, true)
			}
		}
	}
	for _, p := range programs() {
		for _, mod := range p.modules {
			n.add(mod, p.name, p.initrd)
		}
	}
	return slices.SortedFunc(maps.Values(n), func(a, b Need) int {
		if a.Module < b.Module {
			return -1
		}
		return 1
	})
}

// packed tells the roles that go into the initramfs: what it always loads, and for a
// rescue what leads to a USB stick.
func packed(r Role) bool { return early(r) || r == USB }

// early tells the roles that the initramfs always needs.
func early(r Role) bool { return r == Storage || r == TimerDog || r == Entropy }

// Modules are the names in needs, all or only those for the initramfs.
func Modules(needs []Need, onlyInitrd bool) []string {
	var names []string
	for _, n := range needs {
		if n.Initrd || !onlyInitrd {
			names = append(names, n.Module)
		}
	}
	return names
}

// Late lists the modules that no device asks for and nothing waits for: sensors,
// USB sticks, the cores' clock.
func Late(models []Model) []string {
	names := []string{"drivetemp"}
	for _, m := range models {
		for _, e := range m.Modules {
			if !early(e.Role) && e.Role != Network && !slices.Contains(names, e.Module) {
				names = append(names, e.Module)
			}
		}
	}
	return names
}

type collector map[string]Need

func (c collector) add(module, by string, initrd bool) {
	n := c[module]
	n.Module, n.Initrd = module, n.Initrd || initrd
	if !slices.Contains(n.By, by) {
		n.By = append(n.By, by)
	}
	c[module] = n
}

// program is a program of the image with the modules that it makes use of.
type program struct {
	name    string
	initrd  bool
	modules []string
}

func programs() []program {
	return []program{
		{"initrd", true, []string{
			"sd_mod", "dm_verity", "sha256_ssse3", "squashfs",
			"ext4", "crc32c_generic", "crc32c_intel", // ext4 asks for a checksum by request_module
			"button", "evdev", // gokrazy looks at /dev/input once, when it starts
		}},
		{"init", true, []string{ // gokrazy mounts the ESP and /perm before anyone could load modules
			"vfat", "nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859_1", "efivarfs",
		}},
		{"updated", false, []string{"vfat", "efivarfs", "exfat"}}, // exfat: larger USB sticks
		{"logd", false, []string{"efi_pstore"}},
		{"netd", false, []string{
			"bonding", "8021q", "sch_fq", "tcp_bbr",
			"nf_tables", "nf_conntrack", "nft_ct", "nft_limit", "nft_connlimit", "nft_quota", "nft_log", "nf_log_syslog",
			"nft_reject_inet", "nft_fib_inet", "nft_numgen",
		}},
		{"httpd", false, []string{"tls", "gcm", "aesni_intel", "ghash_clmulni_intel"}}, // TLS in the kernel
		{"consoled", false, []string{"button", "evdev"}},
		{"health", false, []string{"drivetemp"}}, // asked for by nobody: see Late
	}
}
