package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsLieOverTheFleet(t *testing.T) {
	dir := t.TempDir()
	fleet := write(t, dir, FleetFile, `{"domain": "m.example", "contact": "noc@m.example", "upstream": "up.example",
		"projects": {"gimp": {"rate": "5M", "upstream": {"user": "mirror"}}}}`)
	n := write(t, dir, NodeFile, `{"name": "one", "hardware": "qemu", "sponsor": {"name": "S", "url": "https://s.example/"},
		"addresses": ["dhcp"], "projects": ["gimp"]}`)
	secret := write(t, dir, SecretFile, `{"projects": {"gimp": {"upstream": {"password": "hush"}}}}`)

	c, problems, err := ReadNode(dir)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	if p := c.Projects()[0]; p.Upstream.User != "mirror" || p.Upstream.Password != "hush" || p.Rate != 5<<20 {
		t.Errorf("project = %+v, want the password beside what the fleet says", p)
	}
	if c, err = ReadDesk(fleet, n, secret); err != nil || c.Projects()[0].Upstream.Password != "hush" {
		t.Errorf("at the desk: %v, %v", c, err)
	}

	write(t, dir, SecretFile, "{\n\"projets\": {}, \"domain\": 5}")
	_, err = ReadDesk(fleet, n, secret)
	for _, want := range []string{SecretFile + ":2", `did you mean "projects"?`, "domain"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
	write(t, dir, SecretFile, "{")
	if c, problems, err = ReadNode(dir); err != nil || len(problems) != 1 || c.Fleet.Domain != "m.example" {
		t.Errorf("damaged secrets: %v, %v, %v; want one problem and the rest", c.Fleet.Domain, problems, err)
	}
	if err := os.Remove(filepath.Join(dir, SecretFile)); err != nil {
		t.Fatal(err)
	}
	if _, problems, err = ReadNode(dir); err != nil || len(problems) > 0 {
		t.Errorf("without secrets: %v, %v", problems, err)
	}
}
