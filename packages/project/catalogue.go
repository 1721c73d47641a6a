package project

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"slices"
)

//go:embed catalogue.json
var catalogueJSON []byte

// kind holds the patterns that projects of one archive format share.
type kind struct {
	Index []string `json:"index"`
	Top   []string `json:"top"`
}

type catalogue struct {
	Kinds    map[string]kind    `json:"kinds"`
	Projects map[string]Project `json:"projects"`
}

// load reads the embedded catalogue. That it is well formed is a property of
// the program, shown by its test, hence the panic.
func load() catalogue {
	var c catalogue
	d := json.NewDecoder(bytes.NewReader(catalogueJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		panic("project: catalogue.json: " + err.Error())
	}
	return c
}

// Catalogue returns the projects known to this release, complete with their
// kinds' patterns. The caller owns the map.
func Catalogue() map[string]Project {
	c := load()
	out := make(map[string]Project, len(c.Projects))
	for name, p := range c.Projects {
		out[name] = complete(c.Kinds, name, p)
	}
	return out
}

// Complete fills in what a project that a fleet added leaves open: module,
// topic, rate and the patterns of its kind.
func Complete(name string, p Project) Project {
	return complete(load().Kinds, name, p)
}

func complete(kinds map[string]kind, name string, p Project) Project {
	p.Name = name
	if p.Kind == "" {
		p.Kind = "files"
	}
	if p.Title == "" {
		p.Title = name
	}
	if p.Path == "" {
		p.Path = name
	}
	if p.Upstream.Module == "" {
		p.Upstream.Module = name
	}
	if p.Module.Name == "" {
		p.Module.Name = name
	}
	if p.Module.Path == "" {
		p.Module.Path = p.Path
	}
	if p.Topic == "" {
		p.Topic = name
	}
	if p.Rate == 0 {
		p.Rate = DefaultRate
	}
	if len(p.Index) == 0 {
		p.Index = slices.Clone(kinds[p.Kind].Index)
	}
	if len(p.Top) == 0 {
		p.Top = slices.Clone(kinds[p.Kind].Top)
	}
	return p
}

// DefaultRate is the fleet's usual bound on a transfer, 25 MiB/s.
const DefaultRate Size = 25 << 20
