//go:build vm

package scenario

import (
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"micromirror/packages/vm"
)

// The colours of the line that is read from across the room, see consoled.
var (
	green  = color.RGBA{0, 0xaa, 0, 0xff}
	yellow = color.RGBA{0xaa, 0x55, 0, 0xff}
	red    = color.RGBA{0xaa, 0, 0, 0xff}
)

// verdict waits until the screen's third line has a colour, and keeps the picture
// as build/scenario/screen-NAME.png.
func verdict(t *testing.T, m *vm.VM, name string, want color.RGBA) {
	t.Helper()
	build, err := vm.BuildDir()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(build, "scenario", "screen-"+name+".png")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	limit, tick := time.After(2*time.Minute), time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := m.Screenshot(t.Context(), file); err != nil {
			t.Fatal(err)
		}
		got := pixel(t, file)
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: the verdict is %v, want %v", file, got, want)
		}
	}
}

// pixel is the background at the end of the third of 25 lines.
func pixel(t *testing.T, file string) color.RGBA {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	size := picture.Bounds().Size()
	return color.RGBAModel.Convert(picture.At(size.X-2, size.Y*5/50)).(color.RGBA)
}

// What remote hands see: that all is well, the cable pulled and put back, nothing
// of the kernel's messages; and no key does anything.
func TestScreen(t *testing.T) {
	t.Parallel()
	_, up := upstream(t, 1<<20)
	m := vm.Start(t, vm.Config{Image: nodeOf(t, up, Shipped), NIC: cableNIC})
	m.Wait(`mm consoled: demo\.mirror\.example, This computer, QEMU`)
	m.Wait(`mm consoled: all is well`)
	verdict(t, m, "well", green)

	cable(t, m, false)
	m.Wait(`mm consoled: problem: No carrier on wan0: .*MAC 52:54:00:6d:6d:00`)
	verdict(t, m, "no-link", red)
	m.Keys("alt-f1", "ctrl-alt-delete", "alt-sysrq-b", "q", "ret")
	cable(t, m, true)
	m.Wait(`mm consoled: all is well`)
	verdict(t, m, "well-again", green)
	if n := len(m.Boots()); n != 1 {
		t.Errorf("%d boots: a key restarted the node", n)
	}
	late := regexp.MustCompile(`mm modprobe: loaded late: .*usb_storage`)
	if !slices.ContainsFunc(m.Console(), func(l vm.Line) bool { return late.MatchString(l.Text) }) {
		t.Error("the modules that can wait are not loaded although all is well")
	}
	m.Shutdown()
}
