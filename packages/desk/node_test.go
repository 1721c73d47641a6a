package desk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// flagged begins a fleet and adds a node by flags alone.
func flagged(t *testing.T) *office {
	t.Helper()
	o := emptyOffice(t)
	o.ok("init", "--domain", "mirrors.example.net", "--contact", "noc@example.net", "--upstream", "rsync.example.net",
		"--update-url", "http://updates.example.net/", "--ntp", "ntp1.example.net", "--mqtt", "mqtt.example.net", "--acme", "https://acme.example.net/directory")
	o.ok(addArgs("abq", "192.0.2.10/24")...)
	return o
}

func addArgs(name, address string, more ...string) []string {
	return append([]string{"node", "add", name, "--hardware", "hp-t620", "--sponsor", "Smith & Co", "--sponsor-url", "https://www.example.net/",
		"--addresses", address, "--gateways", "192.0.2.1", "--dns", "192.0.2.53", "--projects", "gimp", "--disk", "480GB",
		"--location", "na/us/nm/albuquerque", "--models", "../../hardware"}, more...)
}

func TestNodeFileIsTenLines(t *testing.T) {
	o := flagged(t)
	got, err := os.ReadFile(filepath.Join(o.fleet, "nodes", "abq.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "name": "abq",
  "hardware": "hp-t620",
  "sponsor": {"name":"Smith & Co","url":"https://www.example.net/"},
  "addresses": ["192.0.2.10/24"],
  "gateways": ["192.0.2.1"],
  "dns": ["192.0.2.53"],
  "projects": ["gimp"],
  "location": {"continent":"na","country":"us","state_province":"nm","city":"albuquerque"}
}
`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	o.ok("check")
	o.ok("node", "check", "abq")
}

func TestFleetFolderIsMadeForGit(t *testing.T) {
	o := flagged(t)
	for _, name := range []string{"fleet.json", "root.json", "keys", "repository", "secrets", ".gitignore"} {
		if !exists(t, filepath.Join(o.fleet, name)) {
			t.Errorf("%s is missing", name)
		}
	}
	ignore, err := os.ReadFile(filepath.Join(o.fleet, ".gitignore"))
	if err != nil || !strings.Contains(string(ignore), "/keys/\n") || !strings.Contains(string(ignore), "/secrets/\n") {
		t.Errorf(".gitignore: %v: %s", err, ignore)
	}
	before, err := os.ReadFile(filepath.Join(o.fleet, "root.json"))
	if err != nil {
		t.Fatal(err)
	}
	o.ok("init") // again: nothing is asked, nothing changes
	if after, err := os.ReadFile(filepath.Join(o.fleet, "root.json")); err != nil || string(after) != string(before) {
		t.Errorf("init made another root: %v", err)
	}
}

func TestAskedOnATerminal(t *testing.T) {
	o := emptyOffice(t)
	o.typed = []string{"mirrors.example.net", "", "noc@example.net", "rsync.example.net", "", "", "", ""} // the contact is asked for twice
	o.ok("init", "--without-keys")
	o.typed = []string{"hp-t620", "S", "https://s.example/", "dhcp", "", "", "gimp videolan", "1TB", ""}
	o.ok("node", "add", "one", "--models", "../../hardware")
	rows := as[[]nodeRow](o, "node", "list")
	if len(rows) != 1 || rows[0].Host != "one.mirrors.example.net" || len(rows[0].Projects) != 2 {
		t.Errorf("rows = %+v", rows)
	}
}

func TestAddRefuses(t *testing.T) {
	o := flagged(t)
	for name, c := range map[string]struct{ words, args []string }{
		"same name":       {[]string{"abq.json", "there already"}, addArgs("abq", "192.0.2.11/24")},
		"same address":    {[]string{"192.0.2.10", "node abq"}, addArgs("two", "192.0.2.10/25")},
		"alias":           {[]string{"abq.mirrors.example.net", "node abq"}, addArgs("two", "192.0.2.12/24", "--aliases", "abq.mirrors.example.net")},
		"bad name":        {[]string{"name", "Two"}, addArgs("Two", "192.0.2.12/24")},
		"gateway outside": {[]string{"gateways[0]", "198.51.100.1", "two.json"}, addArgs("two", "192.0.2.12/24", "--gateways", "198.51.100.1")},
		"broadcast":       {[]string{"broadcast"}, addArgs("two", "192.0.2.255/24")},
		"project":         {[]string{"did you mean \"gimp\""}, addArgs("two", "192.0.2.12/24", "--projects", "gimpp")},
		"disk full":       {[]string{"do not fit", "480 GB", "mirrorctl plan"}, addArgs("two", "192.0.2.12/24", "--projects", "debian")},
		"no such model":   {[]string{"hp-t999", "hp-t620"}, addArgs("two", "192.0.2.12/24", "--hardware", "hp-t999")},
		"location":        {[]string{"--location", "eu/de//berlin"}, addArgs("two", "192.0.2.12/24", "--location", "berlin")},
		"size of disk":    {[]string{"--disk", "480GB"}, addArgs("two", "192.0.2.12/24", "--disk", "xGB")},
		"no terminal":     {[]string{"no terminal", "--hardware", "--disk"}, []string{"node", "add", "two"}},
	} {
		t.Run(name, func(t *testing.T) {
			o.t = t
			o.refused(c.words, c.args...)
			for _, file := range []string{"two.json", "Two.json"} {
				if exists(t, filepath.Join(o.fleet, "nodes", file)) {
					t.Errorf("%s was written", file)
				}
			}
		})
	}
}

func TestCheckFindsTwoNodesWithOneAddress(t *testing.T) {
	o := flagged(t)
	data, err := os.ReadFile(filepath.Join(o.fleet, "nodes", "abq.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(o.fleet, "nodes", "two.json"), strings.Replace(string(data), `"abq"`, `"two"`, 1))
	out, err := o.run("check")
	if err == nil || !strings.Contains(out, "192.0.2.10 is the address of node abq, too") {
		t.Errorf("error %v, output %s", err, out)
	}
}

func TestRemove(t *testing.T) {
	o := flagged(t)
	o.refused([]string{"--yes abq"}, "node", "remove", "abq")
	o.refused([]string{"nothing was done"}, "node", "remove", "abq", "--yes", "abc")
	o.typed = []string{"abq"}
	o.ok("node", "remove", "abq")
	if exists(t, filepath.Join(o.fleet, "nodes", "abq.json")) {
		t.Error("the file is still there")
	}
}

func TestInitRefusesABadFleet(t *testing.T) {
	o := emptyOffice(t)
	o.refused([]string{"fleet.json", "contact"}, "init", "--domain", "mirrors.example.net", "--contact", "noc", "--upstream", "rsync.example.net")
	if exists(t, filepath.Join(o.fleet, "fleet.json")) {
		t.Error("a bad fleet file was written")
	}
	o.refused([]string{"no terminal", "--domain", "--upstream"}, "init", "--contact", "noc@example.net")
}

func TestParseDisk(t *testing.T) {
	for in, want := range map[string]int64{"480GB": 480e9, "2TB": 2e12, "1.92TB": 1.92e12, "8G": 8 << 30} {
		if got, err := parseDisk(in); err != nil || got != want {
			t.Errorf("parseDisk(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "TB", "-1TB", "NaNGB", "1e30TB", "2 tb"} {
		if got, err := parseDisk(in); err == nil {
			t.Errorf("parseDisk(%q) = %d, want an error", in, got)
		}
	}
}

func TestNodeNamesAreCompleted(t *testing.T) {
	o := flagged(t)
	for _, args := range [][]string{{"card", "--fleet", o.fleet, ""}, {"flash", "--fleet", o.fleet, "--node", ""}} {
		out, err := run(t, append([]string{"__complete"}, args...)...)
		if err != nil || !strings.HasPrefix(out, "abq\n") {
			t.Errorf("%v: %v: %q, want the node", args, err, out)
		}
	}
}
