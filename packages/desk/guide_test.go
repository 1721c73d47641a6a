package desk

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/shlex"
	"github.com/spf13/cobra"
)

// guideCommands are the commands of the guide's blocks marked sh.
func guideCommands(t *testing.T) [][]string {
	t.Helper()
	var out [][]string
	for i, block := range strings.Split(maintainersGuide, "```sh\n") {
		if i == 0 {
			continue
		}
		text, _, ok := strings.Cut(block, "```")
		if !ok {
			t.Fatal("a block of the guide has no end")
		}
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
			words, err := shlex.Split(line)
			if err != nil || len(words) < 2 || words[0] != "mirrorctl" {
				t.Fatalf("%q is no command: %v", line, err)
			}
			out = append(out, words[1:])
		}
	}
	return out
}

// byName sends each request to the fake node of that name.
type byName map[string]*fakeNode

func (b byName) RoundTrip(r *http.Request) (*http.Response, error) {
	name, _, _ := strings.Cut(r.URL.Host, ".")
	r = r.Clone(r.Context())
	r.URL.Host = strings.TrimPrefix(b[name].URL, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

// A new maintainer types the guide as it stands, from an empty folder, to three
// nodes, one of them updated, written anew, and one gone.
func TestGuideAsWritten(t *testing.T) {
	o := emptyOffice(t)
	o.clock = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	models, err := filepath.Abs("../../hardware")
	if err != nil {
		t.Fatal(err)
	}
	release := bootable(t, testRelease(t, "2026.11.22-0123abcdef", o.clock))
	t.Chdir(o.fleet)
	for from, to := range map[string]string{models: "hardware", release: "build/release"} {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "mirror/archlinux/lastsync", "1")
	write(t, "demand.csv", "gimp,50G\nvideolan,70G\narchlinux,20G\n")
	maintainer(t, "id_ed25519", "")
	nodes := byName{}
	for _, name := range []string{"albuquerque", "berlin", "lab"} {
		nodes[name] = newFakeNode(o)
		nodes[name].status = goodStatus
	}
	older := testRelease(t, "2026.11.1-89abcdef01", o.clock.AddDate(0, 0, -21))
	for _, args := range guideCommands(t) {
		if args[0] == "rollback" {
			if err := guideTry(t, o, nodes, []string{"release", "--release", older, "--fleet", "fleet"}); err != nil {
				t.Fatal(err)
			}
		}
		try := guideTry(t, o, nodes, args)
		if try != nil {
			t.Fatalf("mirrorctl %s: %v", strings.Join(args, " "), try)
		}
		if args[0] == "flash" && exists(t, "lab.img") {
			o.channel = answering(t, "fleet", "lab", keyOn(t, "lab.img"))
		}
	}
	left, err := Fleet("fleet").Nodes()
	if err != nil || strings.Join(left, " ") != "albuquerque lab" {
		t.Errorf("nodes = %v, %v", left, err)
	}
	for _, file := range []string{"albuquerque.html", "lab.img", "lab.tar.gz", "fleet/known_hosts", "fleet/repository", "fleet/nodes/lab.pub"} {
		if !exists(t, file) {
			t.Errorf("%s is missing", file)
		}
	}
}

// guideTry runs a command. One for a real disk is only parsed.
func guideTry(t *testing.T, o *office, nodes byName, args []string) error {
	t.Helper()
	d := o.desk()
	d.client = &http.Client{Transport: nodes}
	c := d.command()
	if strings.Contains(strings.Join(args, " "), "/dev/") {
		found, rest, err := c.Find(args)
		if err != nil {
			return err
		}
		return found.ParseFlags(rest)
	}
	c.SetArgs(args)
	c.SetOut(&bytes.Buffer{})
	c.SetErr(&bytes.Buffer{})
	return c.ExecuteContext(t.Context())
}

func TestHelpTopics(t *testing.T) {
	for topic, want := range map[string]string{"guide": "A disk died", "host": "DSCP CS1"} {
		if out, err := run(t, "help", topic); err != nil || !strings.Contains(out, want) {
			t.Errorf("help %s: %v:\n%s", topic, err, out)
		}
	}
}

// Every command has an example that its own flags understand, and --json.
func TestEveryCommandHelps(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.Runnable() {
			return
		}
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s: no example or no description", c.CommandPath())
		}
		if c.Flags().Lookup("json") == nil {
			t.Errorf("%s: no --json", c.CommandPath())
		}
		for line := range strings.Lines(strings.ReplaceAll(c.Example, "\\\n", " ")) {
			words, err := shlex.Split(line)
			if err != nil || len(words) < 2 || words[0] != "mirrorctl" {
				t.Errorf("%s: %q is no command: %v", c.CommandPath(), line, err)
				continue
			}
			found, rest, err := Command().Find(words[1:])
			if err != nil || found.CommandPath() != c.CommandPath() {
				t.Errorf("%s: example %q is another command: %v", c.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), line, err)
			}
		}
	}
	walk(Command())
}
