package vm

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// commandLine is the QEMU command line. ports are the forwards to ask for; nics
// are the descriptors, in the child, of the sockets of cfg.Links.
func commandLine(cfg Config, fw Firmware, vars string, accel Accel, ports map[int]int, nics []int) []string {
	args := []string{"-no-user-config", "-nodefaults", "-machine", "q35", "-smp", strconv.Itoa(cfg.CPUs), "-m", strconv.Itoa(cfg.Memory),
		"-display", "none", "-vga", "std",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-chardev", "socket,id=control,fd=3", "-mon", "chardev=control,mode=control",
		"-drive", "if=pflash,format=raw,readonly=on,file=" + comma(fw.Code),
		"-drive", "if=pflash,format=raw,file=" + comma(vars),
		"-device", "ich9-ahci,id=ahci",
		// A kernel tests the timer early on, and an emulated computer fails that
		// when the real one is busy. The loader takes the word from the SMBIOS.
		"-smbios", "type=11,value=io.systemd.boot.kernel-cmdline-extra=no_timer_check"}
	args = append(args, accel.args(cfg.MissingCPU)...)
	args = append(args, cfg.diskArgs()...)
	args = append(args, cfg.nicArgs(ports, nics)...)
	args = append(args, cfg.watchdogArgs()...)
	if cfg.NoReboot {
		args = append(args, "-no-reboot")
	}
	if !cfg.Clock.IsZero() {
		args = append(args, "-rtc", "base="+cfg.Clock.UTC().Format("2006-01-02T15:04:05"))
	}
	return append(args, cfg.Extra...)
}

// comma escapes a file name for a QEMU option.
func comma(path string) string {
	var out []rune
	for _, r := range path {
		if r == ',' {
			out = append(out, ',')
		}
		out = append(out, r)
	}
	return string(out)
}

// diskArgs attaches the disks. The page cache of this computer survives the
// death of QEMU, so flushes need not reach its disk: a power cut of the guest
// keeps exactly what the guest's disk had accepted.
func (c Config) diskArgs() []string {
	var args []string
	for i, path := range append([]string{c.Disk}, c.Disks...) {
		id := fmt.Sprintf("disk%d", i)
		if i == 0 && c.LogWrites != "" {
			args = append(args,
				"-blockdev", "driver=file,node-name=base,discard=unmap,cache.no-flush=on,filename="+comma(path),
				"-blockdev", "driver=file,node-name=writes,cache.no-flush=on,filename="+comma(c.LogWrites),
				"-blockdev", "driver=blklogwrites,node-name="+id+",file=base,log=writes,log-sector-size=512,log-super-update-interval=1")
		} else {
			args = append(args, "-drive", "if=none,format=raw,cache=unsafe,discard=unmap,id="+id+",file="+comma(path))
		}
		args = append(args, "-device", fmt.Sprintf("ide-hd,drive=%s,bus=ahci.%d,bootindex=%d", id, i, i+1))
	}
	return args
}

// nicArgs attaches the cards, without boot ROMs: a node never boots from the network.
func (c Config) nicArgs(ports map[int]int, links []int) []string {
	user := "user,id=net0"
	if c.Offline {
		user = "hubport,id=net0,hubid=9"
	} else {
		for _, guest := range slices.Sorted(maps.Keys(ports)) {
			user += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", ports[guest], guest)
		}
	}
	args := []string{"-netdev", user, "-device", c.NIC + ",netdev=net0,romfile=,mac=52:54:00:6d:6d:00"}
	for i, fd := range links {
		args = append(args, "-netdev", fmt.Sprintf("socket,id=net%d,fd=%d", i+1, fd),
			"-device", fmt.Sprintf("%s,netdev=net%d,romfile=,mac=%s", c.NIC, i+1, c.Links[i].MAC()))
	}
	return args
}

func (c Config) watchdogArgs() []string {
	switch c.Watchdog {
	case I6300ESB:
		return []string{"-device", "i6300esb", "-action", "watchdog=reset"}
	case ITCO:
		return []string{"-global", "ICH9-LPC.noreboot=false", "-action", "watchdog=reset"}
	}
	return nil
}
