package vm

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync"
	"time"

	"micromirror/packages/child"
)

// Accel says how QEMU runs the guest's instructions.
type Accel string

// The two kinds. Everything works with either; KVM is many times faster.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)

// slow names CPU features that QEMU emulates by a function call for each
// instruction: without them programs take code that it translates, which hashes
// several times as fast.
func slow() []string { return []string{"avx", "avx2", "fma"} }

// args are the QEMU options that go with a kind. missing names CPU features to
// hide from the guest.
func (a Accel) args(missing []string) []string {
	cpu, accel := "max", "tcg,thread=multi"
	if a == KVM {
		cpu, accel = "host", "kvm"
	} else {
		missing = append(slow(), missing...)
	}
	for _, f := range missing {
		cpu += "," + f + "=off"
	}
	return []string{"-accel", accel, "-cpu", cpu}
}

// NotOnJaguar lists the CPU features of GOAMD64=v3 that the T620's Jaguar cores
// lack, for Config.MissingCPU.
func NotOnJaguar() []string { return []string{"avx2", "bmi2", "fma"} }

// probeOnce keeps the answer of Probe: it is a fact about the machine.
var probeOnce = sync.OnceValue(probe)

// Probe says which kind works here. KVM counts only if it carries the real
// firmware to its boot menu: inside some virtual machines /dev/kvm opens and
// runs a few instructions, then fails in the firmware.
func Probe() Accel { return probeOnce() }

func probe() Accel {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return TCG
	}
	f.Close()
	fw, err := FindFirmware()
	if err != nil {
		return TCG
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if kvmReachesBootMenu(ctx, fw) {
		return KVM
	}
	return TCG
}

func kvmReachesBootMenu(ctx context.Context, fw Firmware) bool {
	args := append([]string{"-machine", "q35", "-m", "256", "-nodefaults", "-display", "none", "-serial", "stdio",
		"-drive", "if=pflash,format=raw,readonly=on,file=" + fw.Code,
		"-drive", "if=pflash,format=raw,snapshot=on,file=" + fw.Vars}, KVM.args(nil)...)
	cmd := exec.Command(qemuBinary, args...)
	out := newVerdict("BdsDxe:", "KVM internal error")
	cmd.Stdout, cmd.Stderr = out, out
	p, err := child.Start(cmd)
	if err != nil {
		return false
	}
	defer p.Kill()
	select {
	case good := <-out.result:
		return good
	case <-p.Done():
	case <-ctx.Done():
	}
	return false
}

// verdict is a writer that reports which of two texts arrives first.
type verdict struct {
	good, bad []byte
	seen      []byte
	result    chan bool
}

func newVerdict(good, bad string) *verdict {
	return &verdict{good: []byte(good), bad: []byte(bad), result: make(chan bool, 1)}
}

func (v *verdict) Write(b []byte) (int, error) {
	v.seen = append(v.seen, b...)
	for _, text := range [][]byte{v.bad, v.good} {
		if bytes.Contains(v.seen, text) {
			select {
			case v.result <- &text[0] == &v.good[0]:
			default: // already told
			}
		}
	}
	v.seen = v.seen[max(0, len(v.seen)-64):]
	return len(b), nil
}
