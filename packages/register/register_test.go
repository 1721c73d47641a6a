package register

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/node"
	"micromirror/packages/project"
)

// hosting is the reference node with other projects.
func hosting(t *testing.T, projects ...string) *node.Config {
	t.Helper()
	const dir = "../node/reference"
	c, err := node.ReadDesk(filepath.Join(dir, "fleet.json"), filepath.Join(dir, "node.json"), "")
	if err != nil {
		t.Fatal(err)
	}
	c.Node.Projects = projects
	return c
}

func TestAlmaLinux(t *testing.T) {
	got, err := Texts(hosting(t, "almalinux"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Text{{Project: "almalinux", Title: "AlmaLinux", To: got[0].To, File: "demo.mirrors.example.net.yml", Text: `---
name: demo.mirrors.example.net
address:
  http: http://demo.mirrors.example.net/almalinux/
  https: https://demo.mirrors.example.net/almalinux/
  rsync: rsync://demo.mirrors.example.net/almalinux/
update_frequency: 1h
sponsor: "Example Networks"
sponsor_url: https://www.example.net/
email: noc@example.net
geolocation:
  country: US
  state_province: "nm"
  city: "albuquerque"
`}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Whatever a node hosts, its text names the URLs at which it serves.
func TestEveryProjectOfTheCatalogue(t *testing.T) {
	for name, p := range project.Catalogue() {
		texts, err := Texts(hosting(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := texts[0]
		for _, want := range []string{"http://demo.mirrors.example.net/" + p.Path + "/", "rsync://demo.mirrors.example.net/" + p.Module.Name + "/", "noc@example.net"} {
			if !strings.Contains(got.Text, want) {
				t.Errorf("%s lacks %q:\n%s", name, want, got.Text)
			}
		}
		if got.To == "" || strings.Contains(got.Text, "<no value>") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestFormsAreOfKnownProjects(t *testing.T) {
	var forms map[string]form
	if err := json.Unmarshal(formsFile, &forms); err != nil {
		t.Fatal(err)
	}
	for name := range forms {
		if _, ok := project.Catalogue()[name]; !ok {
			t.Errorf("forms.json: %s is not in the catalogue", name)
		}
	}
}

func TestPartOfAModule(t *testing.T) {
	got, err := Texts(hosting(t, "rpmfusion-nonfree"))
	if err != nil || !strings.Contains(got[0].Text, "rsync://demo.mirrors.example.net/rpmfusion/nonfree/") {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWithoutCertificateNoHTTPS(t *testing.T) {
	c := hosting(t, "gimp", "almalinux", "archlinux", "fedora", "ubuntu")
	c.Fleet.ACME = node.ACME{}
	got, err := Texts(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range got {
		if strings.Contains(text.Text, "https://demo") {
			t.Errorf("%s: names an HTTPS URL:\n%s", text.Project, text.Text)
		}
	}
}

// What a project's checker asks for and the node lacks is said before anybody
// registers it.
func TestWhatAProjectWants(t *testing.T) {
	c := hosting(t, "videolan", "centos-stream", "gimp")
	got, err := Texts(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range got {
		if len(text.Mind) > 0 {
			t.Errorf("%s: %v, although the node has everything", text.Project, text.Mind)
		}
	}
	c.Fleet.ACME, c.Node.Addresses = node.ACME{}, []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}
	if got, err = Texts(c); err != nil {
		t.Fatal(err)
	}
	mind := map[string]string{}
	for _, text := range got {
		mind[text.Project] = strings.Join(text.Mind, "; ")
	}
	want := map[string]string{
		"videolan":      "its checker asks for HTTPS; set acme.directory in fleet.json first",
		"centos-stream": "its checker comes over IPv6, too, and the node has no such address",
		"gimp":          "",
	}
	if d := cmp.Diff(want, mind); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestMissingFacts(t *testing.T) {
	c := hosting(t, "gimp")
	c.Node.Location = node.Location{}
	_, err := Texts(c)
	if err == nil || !strings.Contains(err.Error(), "location.country") || !strings.Contains(err.Error(), "location.city") {
		t.Errorf("error = %v, want both fields", err)
	}
}
