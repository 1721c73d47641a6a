package desk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"micromirror/packages/durable"
	"micromirror/packages/node"
	"micromirror/packages/repository"
)

// ignored keeps out of git what must not be published, and what is large and can
// be made again.
const ignored = `# Keys and secrets: back them up elsewhere, never in git.
/keys/
/secrets/
# The update repository is published on a web server.
/repository/
*.img
`

// fleetForm is what init asks for.
type fleetForm struct {
	domain, contact, upstream, updates, ntp, mqtt, acme, key, allow string
}

func (f *fleetForm) questions() []question {
	return []question{
		{"domain", "domain of the nodes", "mirrors.example.net", false, &f.domain},
		{"contact", "e-mail address or URL that people see", "noc@example.net", false, &f.contact},
		{"upstream", "rsync server that the projects come from", "rsync.example.net", false, &f.upstream},
		{"update-url", "URL under which the update repository will be published", "https://updates.example.net/fleet/", true, &f.updates},
		{"ntp", "time servers", "ntp1.example.net,ntp2.example.net", true, &f.ntp},
		{"mqtt", "MQTT broker of the push messages", "mqtt.example.net:1883", true, &f.mqtt},
		{"acme", "directory of the certificate authority", "https://acme.example.net/directory", true, &f.acme},
		{"manage-key", "your SSH public key, to run commands on the nodes", "~/.ssh/id_ed25519.pub", true, &f.key},
		{"allow", "prefixes that you run commands from", "192.0.2.0/24,2001:db8::/48", true, &f.allow},
	}
}

// file is the fleet file, one field on a line.
func (f *fleetForm) file() ([]byte, error) {
	fields := []field{{"domain", f.domain}, {"contact", f.contact}, {"upstream", f.upstream}}
	if f.ntp != "" {
		fields = append(fields, field{"ntp", words(f.ntp)})
	}
	if f.mqtt != "" {
		fields = append(fields, field{"mqtt", object{{"broker", f.mqtt}}})
	}
	if f.acme != "" {
		acme := object{{"directory", f.acme}}
		if strings.Contains(f.contact, "@") {
			acme = append(acme, field{"email", f.contact})
		}
		fields = append(fields, field{"acme", acme})
	}
	if f.updates != "" {
		fields = append(fields, field{"update", object{{"urls", words(f.updates)}}})
	}
	if f.allow != "" {
		fields = append(fields, field{"firewall", object{{"allow", words(f.allow)}}})
	}
	if f.key != "" {
		keys, err := publicKeys(f.key)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field{"manage", object{{"keys", keys}}})
	}
	return object(fields).lines()
}

// publicKeys reads a .pub file.
func publicKeys(file string) ([]string, error) {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		file = filepath.Join(home, rest)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--manage-key: %w; name a .pub file, \"ssh-keygen -t ed25519\" makes one", err)
	}
	if strings.Contains(string(text), "PRIVATE KEY") {
		return nil, fmt.Errorf("--manage-key: %s is a private key; name the file beside it that ends in .pub", file)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), nil
}

func (d *desk) initCommand() *cobra.Command {
	var s site
	var form fleetForm
	var withoutKeys bool
	c := &cobra.Command{
		Use:   "init",
		Short: "begin a fleet: its folder, fleet.json and the update keys",
		Long: `Begin a fleet: make the folder that --fleet names with fleet.json, nodes/, the keys
and an empty update repository, and a .gitignore that keeps keys and secrets out.
It asks for what no flag tells. What is there already is kept, so that it can be
run again after an interruption.`,
		Example: "  mirrorctl init --fleet fleet --domain mirrors.example.net --contact noc@example.net \\\n" +
			"    --upstream rsync.example.net --update-url https://updates.example.net/fleet/",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := d.begin(c, &s, &form); err != nil {
				return err
			}
			if withoutKeys {
				return s.answer(c, map[string]any{"fleet": s.fleet, "keys": false}, initText(s.fleet, false))
			}
			r := d.repository(&s)
			if !r.Exists() {
				if err := r.Init(c.Context()); err != nil {
					return err
				}
			}
			return s.answer(c, map[string]any{"fleet": s.fleet, "keys": true}, initText(s.fleet, true))
		},
	}
	s.flags(c, true)
	for _, q := range form.questions() {
		c.Flags().StringVar(q.value, q.flag, "", q.prompt+", such as "+q.example)
	}
	c.Flags().BoolVar(&withoutKeys, "without-keys", false, "make no update keys yet; nodes written before they are made take no updates")
	return c
}

// begin makes what is missing of a fleet's folder.
func (d *desk) begin(c *cobra.Command, s *site, form *fleetForm) error {
	f := Fleet(s.fleet)
	if _, err := os.Stat(f.File()); errors.Is(err, os.ErrNotExist) {
		if err := d.fill(c, form.questions()); err != nil {
			return err
		}
		data, err := form.file()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(s.fleet, 0o755); err != nil {
			return err
		}
		if err := f.tryFleet(data); err != nil {
			return err
		}
		if err := durable.WriteFile(f.File(), data, 0o644); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for dir, mode := range map[string]os.FileMode{"nodes": 0o755, "secrets": 0o700} {
		if err := os.MkdirAll(filepath.Join(s.fleet, dir), mode); err != nil {
			return err
		}
	}
	ignore := filepath.Join(s.fleet, ".gitignore")
	if _, err := os.Stat(ignore); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return durable.WriteFile(ignore, []byte(ignored), 0o644)
}

// tryFleet checks a fleet file that is not written yet, with a node that has
// nothing wrong.
func (f Fleet) tryFleet(data []byte) error {
	const good = `{"name": "try", "hardware": "qemu", "sponsor": {"name": "try", "url": "https://try.example/"},
		"addresses": ["dhcp"], "projects": ["gimp"]}`
	_, err := try(f.File(), data, f.NodeFile("try"), []byte(good))
	return err
}

// try checks files that are not written yet. Problems name the files as they will
// be called.
func try(fleetFile string, fleet []byte, nodeFile string, text []byte) (*node.Config, error) {
	dir, err := os.MkdirTemp("", "mirrorctl")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	names := map[string]string{filepath.Join(dir, node.FleetFile): fleetFile, filepath.Join(dir, node.NodeFile): nodeFile}
	for tmp, data := range map[string][]byte{node.FleetFile: fleet, node.NodeFile: text} {
		if err := os.WriteFile(filepath.Join(dir, tmp), data, 0o600); err != nil {
			return nil, err
		}
	}
	cfg, err := node.ReadDesk(filepath.Join(dir, node.FleetFile), filepath.Join(dir, node.NodeFile), filepath.Join(dir, node.SecretFile))
	var problems node.Problems
	if !errors.As(err, &problems) {
		return cfg, err
	}
	for i, p := range problems {
		if name, ok := names[p.File]; ok {
			problems[i].File = name
		}
		problems[i].Line = 0
	}
	return nil, fmt.Errorf("nothing was written:\n%w", problems)
}

func initText(fleet string, keys bool) string {
	f := Fleet(fleet)
	text := fmt.Sprintf("%s: a fleet\n", f.File())
	if keys {
		r := repository.At(fleet)
		text += fmt.Sprintf("%s: the update repository, to be published on a web server\n%s: the keys; move each root key to a medium of its own, see \"mirrorctl help keys\"\n",
			r.Dir, filepath.Join(fleet, "keys"))
	}
	return text + fmt.Sprintf("next: git init %s, then mirrorctl node add NAME --fleet %s\n", fleet, fleet)
}

// field is a member of a JSON object whose order counts: people read the files.
type field struct {
	name  string
	value any
}

type object []field

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	parts := make([]string, len(o))
	for i, f := range o {
		value, err := plainJSON(f.value)
		if err != nil {
			return nil, err
		}
		parts[i] = fmt.Sprintf("%q: %s", f.name, value)
	}
	return []byte("{" + strings.Join(parts, ", ") + "}"), nil
}

// plainJSON is JSON without the escapes that only web pages need.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// lines writes each member on a line of its own.
func (o object) lines() ([]byte, error) {
	var b strings.Builder
	for i, f := range o {
		value, err := plainJSON(f.value)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s\n  %q: %s", map[bool]string{true: "{", false: ","}[i == 0], f.name, value)
	}
	return []byte(b.String() + "\n}\n"), nil
}
