package desk

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/demand"
)

func chosen(p diskPlan) (names []string) {
	for _, k := range p.Chosen {
		names = append(names, k.Name)
	}
	return names
}

func TestPlan(t *testing.T) {
	o := newOffice(t)
	file := filepath.Join(t.TempDir(), "demand.csv")
	write(t, file, "project,bytes_per_day,bytes_on_disk\ngimp,50G\ndebian,600G\nfedora,300G\nfedora-amd64,290G\nour-own,1G,10G\n")
	got := as[[]diskPlan](o, "plan", "--demand", file, "--disk", "1TB", "--disk", "8TB", "--keep", "our-own")
	if d := cmp.Diff([]string{"fedora-amd64", "gimp", "our-own"}, chosen(got[0])); d != "" {
		t.Errorf("1 TB (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"gimp", "debian", "fedora", "our-own"}, chosen(got[1])); d != "" {
		t.Errorf("8 TB holds both fedora trees, which are served at one path (-want +got):\n%s", d)
	}
	if out := o.ok("plan", "--demand", file, "--disk", "1TB"); !strings.Contains(out, "0.45") || !strings.Contains(out, "no   debian") {
		t.Errorf("output:\n%s", out)
	}
	o.refused([]string{"--keep", "does not fit", "1TB"}, "plan", "--demand", file, "--disk", "1TB", "--keep", "debian")
	write(t, file, "unheard-of,1G\n")
	o.refused([]string{"unheard-of", "third column"}, "plan", "--demand", file, "--disk", "1TB")
}

func TestDemandOfTheNodes(t *testing.T) {
	o := newOffice(t)
	for _, n := range o.nodes {
		n.status = goodStatus
	}
	nodes := as[[]nodeStatus](o, "status")
	want := []demand.Project{{Name: "debian\x1b[2J", Daily: 1e9}, {Name: "gimp", Daily: 3e9, Size: 1e9}}
	if d := cmp.Diff(want, served(nodes)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestRegister(t *testing.T) {
	o := flagged(t)
	out := o.ok("register", "abq")
	for _, want := range []string{"gimp: send to", "http://abq.mirrors.example.net/gimp/", "Smith & Co"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	o.refused([]string{"--project", "gimp"}, "register", "abq", "--project", "debian")
}
