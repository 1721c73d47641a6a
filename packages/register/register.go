// Package register writes what a new mirror sends to each project: the file, the
// fields of the form or the letter by which its mirror list learns of a node.
//
// Promise: everything is taken from the node's and the fleet's files, so that what
// is registered is what the node serves; a project without a form of its own gets
// a letter that says the same. What a list needs and the files lack is an error
// that names the field. Where each project wants it is data, forms.json. Nothing
// is sent: a person reads it first, and some projects ask for an account.
package register

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"text/template"

	"micromirror/packages/node"
	"micromirror/packages/project"
)

// Text is what to send for one project.
type Text struct {
	Project string `json:"project"`
	Title   string `json:"title"`
	To      string `json:"to"`             // whom, and how
	File    string `json:"file,omitempty"` // name of the file, where a file is wanted
	Text    string `json:"text"`
	// Mind is what the project asks of a mirror and the node does not have.
	Mind []string `json:"mind,omitempty"`
}

// form says how a project wants it.
type form struct {
	Kind string `json:"kind"` // name of a template
	To   string `json:"to"`
	File string `json:"file"` // suffix after the node's name
	// Category is what the form calls the tree.
	Category string `json:"category"`
	// Wants is what the project's checker asks of a mirror beside the tree: https,
	// IPv4, IPv6.
	Wants []string `json:"wants"`
}

//go:embed forms.json
var formsFile []byte

//go:embed forms.tmpl
var templates string

const letter = "letter"

// facts is what the templates use.
type facts struct {
	Host, Name, Title, Category  string
	HTTP, HTTPS, Rsync           string
	Upstream                     string
	Sponsor, SponsorURL, Contact string
	Country, State, City         string
	Addresses                    []netip.Addr
	IPv4, IPv6                   bool
	Size                         project.Size
	Trace                        string
	Hours                        int
}

// Texts makes the texts of all projects of a node, in the order of its file.
func Texts(c *node.Config) ([]Text, error) {
	if err := complete(c); err != nil {
		return nil, err
	}
	var forms map[string]form
	if err := json.Unmarshal(formsFile, &forms); err != nil {
		return nil, fmt.Errorf("forms.json: %w", err)
	}
	t, err := template.New("").Parse(templates)
	if err != nil {
		return nil, fmt.Errorf("forms.tmpl: %w", err)
	}
	var out []Text
	for _, p := range c.Projects() {
		f, ok := forms[p.Name]
		if !ok {
			f = form{Kind: letter, To: "whom the project's page about mirrors names, usually by e-mail"}
		}
		var b bytes.Buffer
		if err := t.ExecuteTemplate(&b, f.Kind, factsOf(c, p, f)); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		text := Text{Project: p.Name, Title: p.Title, To: f.To, Text: strings.TrimLeft(b.String(), "\n"), Mind: lacking(factsOf(c, p, f), f.Wants)}
		if f.File != "" {
			text.File = c.Hostname() + f.File
		}
		out = append(out, text)
	}
	return out, nil
}

// lacking says what of a project's wishes a node does not fulfil. Nothing is known
// of the addresses of a node that asks for them.
func lacking(n facts, wants []string) []string {
	var out []string
	for _, w := range wants {
		switch {
		case w == wantsHTTPS && n.HTTPS == "":
			out = append(out, "its checker asks for HTTPS; set acme.directory in fleet.json first")
		case w == wantsIPv4 && len(n.Addresses) > 0 && !n.IPv4, w == wantsIPv6 && len(n.Addresses) > 0 && !n.IPv6:
			out = append(out, "its checker comes over "+w+", too, and the node has no such address")
		}
	}
	return out
}

// Values of form.Wants.
const (
	wantsHTTPS = "https"
	wantsIPv4  = "IPv4"
	wantsIPv6  = "IPv6"
)

// complete says what every list wants to know and the node file may leave out.
func complete(c *node.Config) error {
	var missing []error
	for field, value := range map[string]string{"location.country": c.Node.Location.Country, "location.city": c.Node.Location.City, "sponsor.name": c.Node.Sponsor.Name} {
		if value == "" {
			missing = append(missing, fmt.Errorf("%s: %s is empty; mirror lists ask for it", c.Node.Name, field))
		}
	}
	return errors.Join(missing...)
}

func factsOf(c *node.Config, p project.Project, f form) facts {
	host := c.Hostname()
	out := facts{
		Host: host, Name: p.Name, Title: p.Title, Category: f.Category,
		HTTP:     "http://" + host + "/" + p.Path + "/",
		Rsync:    "rsync://" + host + "/" + p.Module.Name + "/",
		Upstream: p.Upstream.Host, Sponsor: c.Node.Sponsor.Name, SponsorURL: c.Node.Sponsor.URL, Contact: c.Fleet.Contact,
		Country: strings.ToUpper(c.Node.Location.Country), State: c.Node.Location.StateProvince, City: c.Node.Location.City,
		Size: p.Size, Trace: strings.ReplaceAll(p.Trace.File, "{host}", host), Hours: 24,
	}
	// A project may be only a part of its module.
	if rest, ok := strings.CutPrefix(p.Path, p.Module.Path+"/"); ok {
		out.Rsync += rest + "/"
	}
	if c.Fleet.ACME.Directory != "" {
		out.HTTPS = "https" + strings.TrimPrefix(out.HTTP, "http")
	}
	if c.Fleet.MQTT.Broker != "" {
		out.Hours = 1
	}
	for _, a := range c.Node.Addresses {
		out.Addresses = append(out.Addresses, a.Addr())
		out.IPv4, out.IPv6 = out.IPv4 || a.Addr().Is4(), out.IPv6 || a.Addr().Is6()
	}
	return out
}
