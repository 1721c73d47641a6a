package initramfs

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// earlyAlign is where the content of early files begins: processors of Intel
// take microcode from such addresses only.
const earlyAlign = 16

// newcHeader is the length of a header of cpio's "new ASCII" format.
const newcHeader = 110

// early makes the archive in front, which the kernel reads before it can unpack
// (Documentation/arch/x86/microcode.rst). Without files there is none.
func early(files map[string][]byte) ([]byte, error) {
	if len(files) == 0 {
		return nil, nil
	}
	dirs := map[string]bool{}
	for name := range files {
		for d := path.Dir(name); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	var out bytes.Buffer
	w := cpio.Newc.Writer(&out)
	write := func(r cpio.Record, padding int) error {
		r = cpio.MakeReproducible(r)
		r.Name += strings.Repeat("\x00", padding)
		if err := w.WriteRecord(r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		return nil
	}
	for _, d := range slices.Sorted(maps.Keys(dirs)) {
		if err := write(cpio.Directory(d, 0o755), 0); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		begin := out.Len() + newcHeader + len(name) + 1
		if err := write(cpio.StaticFile(name, string(files[name]), 0o644), -begin&(earlyAlign-1)); err != nil {
			return nil, err
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
