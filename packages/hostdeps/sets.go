package hostdeps

// Build lists what building a release takes, beside Go.
func Build() []Tool {
	return []Tool{
		{"apt", []string{"apt-get", "apt-config"}},
		{"dpkg", []string{"dpkg-deb"}},
		{"e2fsprogs", []string{"mke2fs"}},
		{"ca-certificates", []string{"/etc/ssl/certs/ca-certificates.crt"}},
		{"debian-archive-keyring", []string{"/usr/share/keyrings/debian-archive-keyring.gpg"}},
	}
}

// Run lists what the demo takes, beside Build: machine and upstream.
func Run() []Tool {
	return []Tool{
		{"qemu-system-x86", []string{"qemu-system-x86_64"}},
		{"ovmf", []string{"/usr/share/OVMF/OVMF_CODE_4M.fd"}},
		{"rsync", []string{"rsync"}},
		{"apt-utils", []string{"apt-ftparchive"}},
		{"gnupg", []string{"gpg", "gpgconf"}},
		{"gpg-agent", []string{"gpg-agent"}},
		{"rpm", []string{"rpmbuild"}},
		{"createrepo-c", []string{"createrepo_c"}},
	}
}

// Check lists the peers that the unit tests compare with, beside Run. nginx-light,
// lldpd and mosquitto bring services that Debian starts.
func Check() []Tool {
	return []Tool{
		{"apt-mirror", []string{"apt-mirror"}},
		{"aria2", []string{"aria2c"}},
		{"axel", []string{"axel"}},
		{"cryptsetup-bin", []string{"veritysetup"}},
		{"curl", []string{"curl"}},
		{"debmirror", []string{"debmirror"}},
		{"dnf", []string{"dnf"}},
		{"dnsmasq-base", []string{"dnsmasq"}},
		{"dosfstools", []string{"fsck.fat"}},
		{"e2fsprogs", []string{"e2fsck", "debugfs"}},
		{"fdisk", []string{"sfdisk"}},
		{"ftpsync", []string{"ftpsync"}},
		{"gdisk", []string{"sgdisk"}},
		{"goaccess", []string{"goaccess"}},
		{"iproute2", []string{"ip"}},
		{"iputils-ping", []string{"ping"}},
		{"kmod", []string{"depmod"}},
		{"libssh-gcrypt-4", []string{"/usr/lib/x86_64-linux-gnu/libssh-gcrypt.so.4"}}, // of bird2
		{"lftp", []string{"lftp"}},
		{"lldpd", []string{"lldpd", "lldpcli"}},
		{"libarchive-tools", []string{"bsdtar"}},
		{"makepkg", []string{"/usr/share/makepkg/util/compress.sh"}},
		{"mosquitto", []string{"mosquitto"}},
		{"mtools", []string{"mcopy", "mformat"}},
		{"ndisc6", []string{"ndisc6"}},
		{"nftables", []string{"nft"}},
		{"nginx-light", []string{"nginx"}},
		{"openssl", []string{"openssl"}},
		{"pebble", []string{"pebble", "pebble-challtestsrv"}},
		{"pacman-package-manager", []string{"pacman", "repo-add"}},
		{"radvd", []string{"radvd"}},
		{"rclone", []string{"rclone"}},
		{"reprepro", []string{"reprepro"}},
		{"rsyslog-gnutls", []string{"/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so"}},
		{"wget", []string{"wget"}},
		{"zsync", []string{"zsync", "zsyncmake"}},
		{"zypper", []string{"zypper"}},
	}
}

// CheckUnpacked are the packages with further peers, for Unpacked.
func CheckUnpacked() []string { return []string{"bird2", "chrony"} }

// UnpackedDir is where their files go in the repository.
const UnpackedDir = "build/tools"

// Test lists what the scenarios take, beside Check: clients of the node and tools
// to make damaged disks.
func Test() []Tool {
	return []Tool{
		{"squashfs-tools", []string{"mksquashfs"}},
	}
}

// Bench lists the peers that the benchmarks compare with, beside Test.
func Bench() []Tool {
	return []Tool{
		{"wrk", []string{"wrk"}},
	}
}
