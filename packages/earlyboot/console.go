package earlyboot

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// Levels of the kernel's log.
const (
	critical = 2
	warning  = 4
	notice   = 5
)

// console writes to the kernel's log, which goes to every console there is.
type console struct{ w io.Writer }

func openConsole() *console {
	for _, f := range []string{"/dev/kmsg", "/dev/console"} {
		if w, err := os.OpenFile(f, os.O_WRONLY, 0); err == nil {
			return &console{w}
		}
	}
	return &console{os.Stderr}
}

// printf writes one record. The kernel takes up to 1,024 bytes in one.
func (c *console) printf(level int, format string, a ...any) {
	s := oneLine(fmt.Sprintf(format, a...))
	fmt.Fprintf(c.w, "<%d>mm initrd: %s\n", level, s[:min(len(s), 900)])
}

// oneLine joins the lines of a message, so that none is lost among others'.
func oneLine(v any) string {
	return strings.ReplaceAll(strings.TrimSpace(fmt.Sprint(v)), "\n", "; ")
}
