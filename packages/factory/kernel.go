package factory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"micromirror/packages/deb"
	"micromirror/packages/hardware"
	"micromirror/packages/kernel"
	"micromirror/packages/perm"
	"micromirror/packages/release"
	"micromirror/packages/verity"
)

// kernelOptions is the command line of every slot but for what names its root.
// The kernel falls back to the backup partition table only when told "gpt".
// Without mptcp, because Go listens with it where it can and landlock's port rules
// do not cover it. Without huge pages: each of a dozen small processes would take
// megabytes that it does not need, and the kernel would keep some 60 MiB free to
// make more.
const kernelOptions = "gpt ro console=tty0 console=ttyS0,115200 panic=5 oops=panic printk.devkmsg=on " +
	"sysctl.net.mptcp.enabled=0 transparent_hugepage=never"

// The Debian packages that an image is made of. 262 is the first systemd-boot
// that survives a kernel it cannot load.
var debian = []deb.Want{
	{Suite: "trixie", Name: "linux-image-amd64", Depends: "linux-image-6.12"},
	{Suite: "sid", Name: "systemd-boot-efi", MinVersion: "262~"},
	{Suite: "trixie", Name: "e2fsck-static"},
}

const (
	kernelDeb = iota
	loaderDeb
	e2fsckDeb
)

type build struct {
	Options
	version    string
	built      string // RFC 3339
	packages   []deb.Package
	debian     []DebianPackage
	models     []hardware.Model
	kernel     *kernel.Kernel
	firmware   []Firmware
	microcode  map[string][]byte
	rootVerity verity.Tree
	times      []StepTime
}

// StepTime says how long a step of a build took.
type StepTime struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

// TimesFile holds the StepTimes of the last build, in the release folder.
const TimesFile = "times.json"

func (b *build) writeTimes() error { return writeJSON(filepath.Join(b.Out(), TimesFile), b.times) }

// identify names the version: the commit's date and short hash, so that a build
// of the same source has the same name.
func (b *build) identify(ctx context.Context) error {
	commit, err := b.output(ctx, "git", "log", "-1", "--format=%cd-%h", "--date=format:%Y.%m.%d", "--abbrev=10")
	if err != nil {
		return fmt.Errorf("a release is named after its commit: %w", err)
	}
	b.version = strings.TrimSpace(commit)
	changed, err := b.output(ctx, "git", "status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		b.version += "-dirty"
	}
	b.built = time.Now().UTC().Format(time.RFC3339)
	return nil
}

func (o Options) unpacked(i int) string {
	return filepath.Join(o.debianDir(), "unpacked", o.wants()[i].Name)
}

// KernelDir is where a build leaves Debian's kernel package, unpacked.
func (o Options) KernelDir() string { return o.unpacked(kernelDeb) }

func (b *build) fetchDebian(ctx context.Context) error {
	progress := newTicker(b.Log)
	var err error
	b.packages, err = deb.Fetch(ctx, deb.Options{
		Dir: b.debianDir(), Want: b.wants(), Refresh: b.Refresh,
		Progress: func(p deb.Progress) { progress.step(p.Suite+" "+p.Step, p.Percent) },
	})
	if err != nil {
		return err
	}
	for i, p := range b.packages {
		if err := p.Unpack(ctx, b.unpacked(i)); err != nil {
			return err
		}
		b.debian = append(b.debian, DebianPackage{p.Name, p.Version, p.Suite, p.SHA256, b.licence(i)})
		fmt.Fprintf(b.Log, "build: Debian %s: %s %s\n", p.Suite, p.Name, p.Version)
	}
	loader := filepath.Join(b.unpacked(loaderDeb), "usr/lib/systemd/boot/efi/systemd-bootx64.efi")
	return copyFile(loader, filepath.Join(b.Out(), release.LoaderFile))
}

func (b *build) fillKernel(ctx context.Context) (err error) {
	if b.models, err = hardware.Load(os.DirFS(filepath.Join(b.Repository, "hardware"))); err != nil {
		return err
	}
	dst := filepath.Join(b.Repository, "packages", "kernel")
	b.kernel, err = kernel.Fill(ctx, dst, b.unpacked(kernelDeb), hardware.Modules(hardware.Needs(b.models), false))
	if err != nil {
		return err
	}
	return copyFile(b.kernel.Vmlinuz(), filepath.Join(b.Out(), release.KernelFile))
}

func (b *build) makePerm(ctx context.Context) error {
	return perm.Template(ctx, filepath.Join(b.Out(), release.PermFile))
}

func (b *build) writeRelease(context.Context) error {
	built, err := time.Parse(time.RFC3339, b.built)
	if err != nil {
		return err
	}
	var models []string
	for _, m := range b.models {
		models = append(models, m.Model)
	}
	return release.Write(b.Out(), release.Release{
		Version: b.version, Built: built, Hardware: models, Options: kernelOptions, Rescue: true,
		Root:   release.Root{Verity: b.rootVerity},
		Loader: release.Loader{Version: b.packages[loaderDeb].Version},
	})
}

func hashFile(path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return 0, "", fmt.Errorf("read %s: %w", path, err)
	}
	return size, hex.EncodeToString(h.Sum(nil)), nil
}

// ticker prints a step's progress in tenths, so that a log stays readable.
type ticker struct {
	w    io.Writer
	last map[string]int
}

func newTicker(w io.Writer) *ticker { return &ticker{w, map[string]int{}} }

func (t *ticker) step(name string, percent float64) {
	tenth := int(percent / 10)
	if last, seen := t.last[name]; seen && tenth <= last {
		return
	}
	t.last[name] = tenth
	fmt.Fprintf(t.w, "build: %s %d %%\n", name, tenth*10)
}
