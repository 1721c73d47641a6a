package earlyboot

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/kmod"
)

func TestConsoleWritesOneRecord(t *testing.T) {
	var out bytes.Buffer
	c := &console{&out}
	c.printf(critical, "FAIL: %v, rebooting", errors.Join(errors.New("one"), errors.New("two")))
	c.printf(notice, "%s", strings.Repeat("x", 5000))
	lines := strings.Split(out.String(), "\n")
	if d := cmp.Diff("<2>mm initrd: FAIL: one; two, rebooting", lines[0]); d != "" {
		t.Errorf("record (-want +got):\n%s", d)
	}
	if len(lines) != 3 || len(lines[1]) > 1000 {
		t.Errorf("%d records, the second of %d bytes; the kernel takes 1024", len(lines)-1, len(lines[1]))
	}
}

func TestWatchdogSeconds(t *testing.T) {
	for cmdline, want := range map[string]int{
		"": 60, "ro mm.watchdog=20 quiet": 20, "mm.watchdog=1": 10, "mm.watchdog=99999": 600, "mm.watchdog=soon": 60, "xmm.watchdog=20": 60,
	} {
		if got := watchdogSeconds(cmdline); got != want {
			t.Errorf("watchdogSeconds(%q) = %d, want %d", cmdline, got, want)
		}
	}
}

func TestVerityTree(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	got, err := verityTree("ro verity=" + hash + ":1507 gpt")
	if err != nil || got.RootHash != hash || got.DataBlocks != 1507 {
		t.Errorf("verityTree = %+v, %v", got, err)
	}
	for _, bad := range []string{"", "verity=", "verity=" + hash, "verity=" + hash + ":0", "verity=" + hash[1:] + ":5", "verity=" + hash + ":-1"} {
		if _, err := verityTree(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestStorageClasses(t *testing.T) {
	for modalias, want := range map[string]bool{
		"pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01": true,
		"pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02": true,
		"virtio:d00000002v00001AF4":                             true,
		"pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00": false,
		"usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip02in00":     false,
	} {
		if got := storage.MatchString(modalias); got != want {
			t.Errorf("storage(%s) = %v, want %v", modalias, got, want)
		}
	}
}

// TestWatchdogIsArmedAndPinged uses a file for the device: what counts is that
// something is written, and never the magic character that would disarm it.
func TestWatchdogIsArmedAndPinged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "watchdog")
	w := &watchdog{path: path}
	w.ping() // not armed yet: nothing to do
	if _, err := w.arm(60); !errors.Is(err, os.ErrNotExist) || w.armed() {
		t.Errorf("without a device: %v, armed %v", err, w.armed())
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := w.arm(45); err != nil || d != 45*time.Second || !w.armed() {
		t.Errorf("arm = %v, %v, armed %v", d, err, w.armed())
	}
	w.ping()
	b, err := os.ReadFile(path)
	if err != nil || len(b) != 2 || bytes.ContainsRune(b, 'V') {
		t.Errorf("written %q, %v; want two pings", b, err)
	}
}

// TestStartWatchdogStopsAtTheFirst lets the second driver bring the device forth.
func TestStartWatchdogStopsAtTheFirst(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "lib/modules/test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var dep strings.Builder
	for _, m := range WatchdogModules() {
		dep.WriteString("k/" + m + ".ko:\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "modules.dep"), []byte(dep.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var loaded []string
	b := &boot{log: &console{&bytes.Buffer{}}, dog: &watchdog{path: filepath.Join(root, "watchdog")}}
	var err error
	b.modules, err = kmod.New(kmod.Config{Root: root, Release: "test", Insert: func(path, _ string) error {
		loaded = append(loaded, kmod.Name(path))
		if kmod.Name(path) == "iTCO_wdt" {
			return os.WriteFile(b.dog.path, nil, 0o600)
		}
		return unix.ENODEV
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.startWatchdog()
	if d := cmp.Diff([]string{"i6300esb", "i2c_i801", "lpc_ich", "iTCO_wdt"}, loaded); d != "" {
		t.Errorf("loaded (-want +got):\n%s", d)
	}
	if !b.dog.armed() {
		t.Error("the watchdog is not armed")
	}
}

func FuzzCommandLine(f *testing.F) {
	f.Add("root=PARTUUID=x verity=ab:1 mm.watchdog=5")
	f.Fuzz(func(t *testing.T, cmdline string) {
		if s := watchdogSeconds(cmdline); s < minTimeout || s > maxTimeout {
			t.Errorf("watchdog of %d s", s)
		}
		if tree, err := verityTree(cmdline); err == nil && tree.Validate() != nil {
			t.Errorf("accepted %v", tree)
		}
	})
}
