package vm

import (
	"regexp"
	"time"
)

// Boot is one start of a kernel, as the console told it.
type Boot struct {
	Cycle   int
	At      time.Duration
	Slot    string // "a", "b", or "" when the command line names no slot
	Cmdline string
}

var (
	// The kernel prints its command line twice; only the first print has this form.
	cmdlineRE = regexp.MustCompile(`^(?:\[ *\d+\.\d+\] )?Command line: (.*)$`)
	slotRE    = regexp.MustCompile(`(?:^|\s)root=PARTUUID=[0-9A-Fa-f-]{36}/PARTNROFF=([12])(?:\s|$)`)
)

func boots(lines []Line) []Boot {
	var out []Boot
	for _, l := range lines {
		if m := cmdlineRE.FindStringSubmatch(l.Text); m != nil {
			out = append(out, Boot{l.Cycle, l.At, slotOf(m[1]), m[1]})
		}
	}
	return out
}

// slotOf reads which slot a kernel command line starts. It is written apart from
// the code under test on purpose.
func slotOf(cmdline string) string {
	m := slotRE.FindStringSubmatch(cmdline)
	if m == nil {
		return ""
	}
	return map[string]string{"1": "a", "2": "b"}[m[1]]
}

// Mark is a milestone of a boot and when the machine reached it.
type Mark struct {
	Name string
	At   time.Duration // since power-on
}

// milestones in the order in which a boot reaches them.
var milestones = []struct {
	name string
	re   *regexp.Regexp
}{
	{"firmware", regexp.MustCompile(`BdsDxe: starting`)},
	{"loader", regexp.MustCompile(`EFI stub:`)},
	{"kernel", regexp.MustCompile(`Linux version \d`)},
	{"initrd", regexp.MustCompile(`mm initrd: start`)},
	{"root", regexp.MustCompile(`mm initrd: root \S+ mounted`)},
	{"switch", regexp.MustCompile(`mm initrd: switching root`)},
	{"gokrazy", regexp.MustCompile(`gokrazy build timestamp`)},
	{"network", regexp.MustCompile(`mm netd: address`)},
	{"serving", regexp.MustCompile(`mm httpd: serving on`)},
	{"published", regexp.MustCompile(`mm syncd: \S+: published`)},
	{"healthy", regexp.MustCompile(`mm updated: slot [ab] healthy`)},
}

// timeline finds the first time each milestone was reached in a power cycle.
func timeline(lines []Line, cycle int) []Mark {
	var out []Mark
	for _, ms := range milestones {
		for _, l := range lines {
			if l.Cycle == cycle && ms.re.MatchString(l.Text) {
				out = append(out, Mark{ms.name, l.At})
				break
			}
		}
	}
	return out
}
