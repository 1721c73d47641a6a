package vm

import (
	"fmt"
	"regexp"
	"strings"
)

// maxDigest bounds a digest: enough for a dozen boots.
const maxDigest = 120

// telling are the lines that say how a boot went: all that firmware and loader
// say, the kernel's start and end, and what the daemons report, but for retries.
var telling = regexp.MustCompile(`^[^\[0-9]|\] Command line: |\bmm (initrd|updated|netd):|panic|Oops|BUG|watchdog|reboot:`)

// digest is the course of all power cycles in short, for the output of a failed
// test: the log itself may be on a computer that nobody gets at.
func digest(lines []Line) string {
	var b strings.Builder
	n := 0
	for _, l := range lines {
		if !telling.MatchString(l.Text) {
			continue
		}
		if n++; n > maxDigest {
			b.WriteString("    …\n")
			break
		}
		fmt.Fprintf(&b, "    %d %s\n", l.Cycle, l)
	}
	return b.String()
}
