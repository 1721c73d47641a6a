package project

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Fault is one thing wrong with a project as configured.
type Fault struct {
	Field  string // for example upstream.module
	Value  string
	Remedy string
}

// Faults returns everything that makes a completed project unusable.
func (p *Project) Faults() []Fault {
	var out []Fault
	bad := func(cond bool, field string, value any, remedy string) {
		if cond {
			out = append(out, Fault{field, fmt.Sprint(value), remedy})
		}
	}
	kinds := load().Kinds
	_, known := kinds[p.Kind]
	bad(!known, "kind", p.Kind, "use one of "+strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	bad(!cleanPath(p.Path), "path", p.Path, "use a relative path without dot elements, such as debian or rpmfusion/nonfree")
	bad(!cleanName(p.Upstream.Module), "upstream.module", p.Upstream.Module, "use the module's name as the upstream lists it")
	bad(p.Upstream.Path != "" && !cleanPath(p.Upstream.Path), "upstream.path", p.Upstream.Path, "use a relative path without dot elements")
	bad(!cleanName(p.Module.Name), "module.name", p.Module.Name, "use letters, digits, dot, dash and underscore")
	inside := cleanPath(p.Module.Path) && strings.HasPrefix(p.Path+"/", p.Module.Path+"/")
	bad(!inside, "module.path", p.Module.Path, "use the project's path or a folder above it")
	bad(!cleanName(p.Topic), "topic", p.Topic, "use letters, digits, dot, dash and underscore")
	bad(p.Rate < 64<<10, "rate", p.Rate, "use at least 64K (bytes a second)")
	bad(p.MaxDelete < 0 || p.MaxDelete > 100, "max_delete", p.MaxDelete, "use a percentage from 1 to 100, or 0 for the default")
	bad(p.OutOfService.StaleHours < 0, "out_of_service.stale_hours", p.OutOfService.StaleHours, "use a number of hours, or 0 for never")
	bad(p.OutOfService.WrongFiles < 0 || p.OutOfService.WrongFiles > 16, "out_of_service.wrong_files", p.OutOfService.WrongFiles, "use 1 to 16 (the size of the sample), or 0 for never")
	for i, r := range p.Filter {
		bad(!filterRule(r), fmt.Sprintf("filter[%d]", i), r, `start the rule with "- " (exclude) or "+ " (include)`)
	}
	return append(out, p.freshnessFaults()...)
}

func (p *Project) freshnessFaults() []Fault {
	var out []Fault
	check := func(field, file, kindField, kind string, known ...string) {
		if file == "" && kind == "" {
			return
		}
		if !fs.ValidPath(file) || file == "." {
			out = append(out, Fault{field, file, "use a path relative to the project's tree"})
		}
		if !slices.Contains(known, kind) {
			out = append(out, Fault{kindField, kind, "use one of " + strings.Join(known, ", ")})
		}
	}
	f, t := p.Freshness, p.Trace
	check("freshness.file", f.File, "freshness.kind", f.Kind, "epoch", "date", "repomd", "mtime", "equal")
	check("trace.file", t.File, "trace.format", t.Format, "debian", "date", "epoch")
	return out
}

// filterRule accepts the rules that both our client and an upstream of any age
// understand without a file to merge.
func filterRule(r string) bool {
	if strings.ContainsAny(r, "\x00\r\n") || len(r) < 3 || len(r) > 1024 {
		return false
	}
	return strings.HasPrefix(r, "- ") || strings.HasPrefix(r, "+ ")
}

// cleanPath accepts relative paths whose elements are plain names: none is
// hidden, so none can be mistaken for one of our temporary files.
func cleanPath(s string) bool {
	return len(s) <= 255 && !slices.ContainsFunc(strings.Split(s, "/"), func(e string) bool { return !cleanName(e) })
}

func cleanName(s string) bool {
	const ok = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-"
	return s != "" && len(s) <= 128 && s[0] != '.' && s[0] != '-' && strings.Trim(s, ok) == ""
}
