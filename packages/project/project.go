// Package project describes the software projects that a node can mirror.
//
// A project is data, not code: where it comes from, where it is served, what is
// left out, which of its files are metadata, how its freshness is judged. The
// catalogue that ships inside (catalogue.json) holds the projects of the fleet's
// contracts; a fleet file adds to it or overrides single fields. Paths and
// module names there are registered in the projects' own mirror lists, so they
// are contractual: a test pins them.
//
// Publishing has three phases, which replace the several rsync passes of the
// usual recipes: first everything that is not metadata, then the files that
// Index names, then those that Top names (the files that name all others).
// Patterns have rsync's filter syntax: a pattern without a slash matches a name
// in any directory, one with a leading slash starts at the project's root, `*`
// stops at a slash, `**` does not.
//
// The package opens no files and no ports. Catalogue cannot fail at run time;
// what a fleet file says is checked by Faults, which never panics.
package project

import "strings"

// Project is one mirrored tree.
type Project struct {
	// Name is the key in the catalogue and in a node's list of projects.
	Name string `json:"-"`
	// Title and Description are shown to people.
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	// Kind chooses the default Index and Top patterns: apt, rpm, pacman, apk,
	// fdroid or files.
	Kind string `json:"kind"`
	// Path is where the tree is served, below the web root.
	Path string `json:"path"`
	// Upstream is where it comes from.
	Upstream Upstream `json:"upstream"`
	// Module is the rsync module that serves it.
	Module Module `json:"module"`
	// Topic is the last element of the push topic rsync/<upstream>/<topic>.
	Topic string `json:"topic"`
	// Rate bounds the transfer, in bytes a second.
	Rate Size `json:"rate"`
	// Filter holds rsync filter rules, first match wins. What they exclude is
	// not mirrored, and deleted where it is there.
	Filter []string `json:"filter,omitempty"`
	// SafeLinks leaves out symlinks that point outside the tree.
	SafeLinks bool `json:"safe_links,omitempty"`
	// Index and Top match metadata; empty means those of the kind.
	Index []string `json:"index,omitempty"`
	Top   []string `json:"top,omitempty"`
	// Freshness says how the project's own checker judges a mirror.
	Freshness Freshness `json:"freshness,omitzero"`
	// Trace is the file by which the node tells when it was last in step.
	Trace Trace `json:"trace,omitzero"`
	// Size and Files estimate the tree as mirrored.
	Size  Size  `json:"size,omitempty"`
	Files int64 `json:"files,omitempty"`
	// MaxDelete is the share of the tree, in percent, that one run may delete; a
	// list that would delete more is refused. 0 means DefaultMaxDelete.
	MaxDelete int `json:"max_delete,omitempty"`
	// OutOfService says when the node stops to serve the project, so that clients
	// go to another mirror.
	OutOfService Rule `json:"out_of_service,omitzero"`
	// Clients are paste-ready lines; {url} stands for the tree's base URL.
	Clients []Client `json:"clients,omitempty"`
}

// DefaultMaxDelete is the bound of a project that sets none, in percent.
const DefaultMaxDelete = 40

// Upstream names a tree on an rsync server.
type Upstream struct {
	// Host is host[:port]; empty means the fleet's upstream.
	Host   string `json:"host,omitempty"`
	Module string `json:"module"`
	// Path is the folder in the module, empty for all of it.
	Path string `json:"path,omitempty"`
	// User and Password are for upstreams that ask.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
}

// Module is an rsync module of the node.
type Module struct {
	Name string `json:"name"`
	// Path is the module's root below the web root; a project may be only a
	// part of it (rpmfusion/nonfree in module rpmfusion).
	Path    string `json:"path"`
	Comment string `json:"comment,omitempty"`
}

// Freshness names the file by which the project's checker judges a mirror.
type Freshness struct {
	// File is relative to the tree.
	File string `json:"file"`
	// Kind says what the file holds: epoch (seconds, also fractional), date
	// (the output of date -u), repomd (the newest <timestamp>), mtime (its own
	// modification time) or equal (its bytes must equal upstream's).
	Kind string `json:"kind"`
	// MaxAge is the age in hours from which the checker calls the mirror stale.
	MaxAge int `json:"max_age_hours,omitempty"`
}

// Rule takes a project out of service (503 over HTTP, "try again later" over
// rsync) until what it names is over. The zero Rule never does.
type Rule struct {
	// StaleHours is how long the tree may be behind upstream: since the last whole
	// run, or since upstream's freshness file became another than ours.
	StaleHours int `json:"stale_hours,omitempty"`
	// WrongFiles is how many files of a sample must be found to differ from
	// upstream's although size and time agree.
	WrongFiles int `json:"wrong_files,omitempty"`
}

// Trace is a file that the node adds to the tree, never upstream's own.
type Trace struct {
	// File is relative to the tree; {host} stands for the node's full name.
	File string `json:"file"`
	// Format is debian (RFC 822 fields), date (date -u) or epoch.
	Format string `json:"format"`
}

// Client is a snippet of configuration for one kind of client.
type Client struct {
	Name  string   `json:"name"`
	Lines []string `json:"lines"`
}

// Phase is the step in which a file is published.
type Phase int

// The phases, in order.
const (
	Content Phase = iota
	Index
	Top
)

// Phase returns the phase of the file or symlink called name, relative to the
// tree.
func (p *Project) Phase(name string) Phase {
	switch {
	case MatchAny(p.Top, name):
		return Top
	case MatchAny(p.Index, name):
		return Index
	default:
		return Content
	}
}

// ClientLines returns the snippets with base URL filled in.
func (p *Project) ClientLines(url string) []Client {
	r := strings.NewReplacer("{url}", strings.TrimSuffix(url, "/"))
	out := make([]Client, 0, len(p.Clients))
	for _, c := range p.Clients {
		lines := make([]string, len(c.Lines))
		for i, l := range c.Lines {
			lines[i] = r.Replace(l)
		}
		out = append(out, Client{Name: c.Name, Lines: lines})
	}
	return out
}

// Overlaps reports whether two projects cannot live on one node because one's
// tree is, or lies inside, the other's.
func (p *Project) Overlaps(o *Project) bool {
	a, b := p.Path+"/", o.Path+"/"
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}
