package flash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine is a computer with a system disk (encrypted, with a volume manager), a
// disk with a mounted partition, an empty disk, a RAID member and an empty reader.
func machine(t *testing.T) (m Machine, dev string) {
	t.Helper()
	dir := t.TempDir()
	m, dev = Machine{Sys: filepath.Join(dir, "sys"), Proc: filepath.Join(dir, "proc")}, filepath.Join(dir, "dev")
	put := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	block := func(path, number, sectors string, files ...string) {
		at, name := "sys/devices/"+path+"/", filepath.Base(path)
		put(at+"dev", number+"\n")
		put(at+"size", sectors+"\n")
		for i := 0; i < len(files); i += 2 {
			put(at+files[i], files[i+1])
		}
		put("dev/"+name, "")
		link := filepath.Join(dir, "sys/class/block", name)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../../devices/"+path, link); err != nil {
			t.Fatal(err)
		}
	}
	block("sda", "8:0", "2000000000", "device/model", "Samsung SSD 870 \n", "device/vendor", "ATA     \n", "device/vpd_pg80", "\x00\x80\x00\x04S6P1")
	block("sda/sda1", "8:1", "1000000", "partition", "1")
	block("sda/sda2", "8:2", "1999000000", "partition", "2", "holders/dm-0", "")
	block("dm-0", "253:0", "1999000000", "slaves/sda2", "", "holders/dm-1", "")
	block("dm-1", "253:1", "1999000000", "slaves/dm-0", "")
	block("sdb", "8:16", "60000000", "device/model", "Ultra", "device/vendor", "SanDisk", "removable", "1\n")
	block("sdb/sdb1", "8:17", "59000000", "partition", "1")
	block("nvme0n1", "259:0", "3907029168", "device/model", "WD Blue", "device/serial", "21", "device/vendor", "0x15b7")
	block("sdc", "8:32", "60000000", "holders/md127", "")
	block("sdd", "8:48", "0", "removable", "1")
	block("sde", "8:64", "60000000", "ro", "1")
	block("sdf", "8:80", "60000000")
	put("proc/self/mountinfo", "22 1 253:1 / / rw - ext4 /dev/mapper/root rw\n23 22 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n"+
		"24 22 8:17 / /media/Ultra\\040disk rw shared:1 - vfat /dev/sdb1 rw\n25 22 0:40 / /proc rw - proc proc rw\n"+
		"26 22 0:41 /@ /srv rw - btrfs /dev/sdf rw\nshort\n")
	put("proc/swaps", "Filename Type Size Used Priority\n/dev/dm-1 partition 1 0 -2\n")
	return m, dev
}

func TestLook(t *testing.T) {
	m, dev := machine(t)
	for name, want := range map[string]struct {
		disk    Disk
		refused string
	}{
		"sda":     {Disk{Model: "Samsung SSD 870", Serial: "S6P1", Size: 1024e9, System: true, Uses: []string{"/", "/boot/efi", "dm-0", "swap"}}, "system of this computer"},
		"sda2":    {Disk{Size: 1999000000 * 512, Partition: true, System: true, Uses: []string{"/", "dm-0", "swap"}}, "name the whole disk"},
		"sdb":     {Disk{Model: "SanDisk Ultra", Size: 60000000 * 512, Removable: true, Uses: []string{`/media/Ultra\040disk`}}, "unmount it"},
		"nvme0n1": {Disk{Model: "WD Blue", Serial: "21", Size: 3907029168 * 512}, ""},
		"sdc":     {Disk{Size: 60000000 * 512, Uses: []string{"md127"}}, "md127"},
		"sdd":     {Disk{Removable: true}, "is a medium inserted?"},
		"sde":     {Disk{Size: 60000000 * 512, ReadOnly: true}, "write-protected"},
		"sdf":     {Disk{Size: 60000000 * 512, Uses: []string{"/srv"}}, "/srv"},
	} {
		got, err := m.Look(filepath.Join(dev, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want.disk.Path, want.disk.Name = filepath.Join(dev, name), name
		if d := cmp.Diff(want.disk, *got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if err := got.Refuse(); (err == nil) != (want.refused == "") || err != nil && !strings.Contains(err.Error(), want.refused) {
			t.Errorf("%s: refused with %v, want %q", name, err, want.refused)
		}
	}
}

func TestLookThroughALink(t *testing.T) {
	m, dev := machine(t)
	link := filepath.Join(dev, "by-id")
	if err := os.Symlink("sdb", link); err != nil {
		t.Fatal(err)
	}
	if d, err := m.Look(link); err != nil || d.Name != "sdb" {
		t.Errorf("Look = %+v, %v", d, err)
	}
	if err := os.WriteFile(filepath.Join(dev, "tty"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"none", "tty"} {
		if _, err := m.Look(filepath.Join(dev, name)); err == nil {
			t.Errorf("%s was found to be a disk", name)
		}
	}
}

func FuzzMounts(f *testing.F) {
	f.Add("24 22 8:17 / /media/x rw shared:1 - vfat /dev/sdb1 rw\n")
	f.Add("1 2 0:1 a b - - - /dev/\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, m := range parseMounts(s, map[string]string{"8:17": "sdb1"}) {
			if m.name == "" {
				t.Error("a mount without a device")
			}
		}
	})
}
