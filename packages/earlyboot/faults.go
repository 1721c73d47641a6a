//go:build faults

package earlyboot

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"micromirror/packages/fault"
	"micromirror/packages/perm"
)

// The faults that tests can order with mm.fault=NAME[,NAME…] on the kernel
// command line of an image built with the tag "faults":
//
//	initrd-hang        stops for ever with the watchdog armed
//	initrd-panic       panics the kernel
//	initrd-exit        /init ends, which panics the kernel too
//	perm-bad           /perm is judged beyond repair
//	perm-remake-reset  the power goes while /perm is made anew (with perm-bad)
func (b *boot) faults() fault.Orders { return fault.Ordered(b.cmdline) }

// fault is a place where faults can happen.
func (b *boot) fault(place string) {
	for _, f := range b.faults() {
		if !strings.HasPrefix(f, place+"-") {
			continue
		}
		b.log.printf(warning, "fault ordered: %s", f)
		switch f {
		case "initrd-hang":
			for {
				time.Sleep(time.Hour) // an empty select would be a deadlock, which ends /init
			}
		case "initrd-panic":
			os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
		case "initrd-exit":
			os.Exit(1)
		}
	}
}

// e2fsck is a program that is not there if /perm has to be bad.
func (b *boot) e2fsck() string {
	if b.faults().Has("perm-bad") {
		return E2fsck + ".missing"
	}
	return E2fsck
}

// beyondRepair says whether only making it anew helps /perm.
func (b *boot) beyondRepair(err error) bool {
	return b.faults().Has("perm-bad") || errors.Is(err, perm.ErrBeyondRepair)
}

// template is what /perm is made from, up to the point where the power goes.
func (b *boot) template(r io.Reader) io.Reader {
	if b.faults().Has("perm-remake-reset") {
		return &resetReader{b: b, r: r, left: 4096}
	}
	return r
}

// resetReader resets the machine when so much has been read.
type resetReader struct {
	b    *boot
	r    io.Reader
	left int
}

func (r *resetReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		r.b.log.printf(warning, "fault ordered: perm-remake-reset")
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
	n, err := r.r.Read(p[:min(len(p), max(r.left, 1))])
	r.left -= n
	return n, err
}
