package deb

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one entry of apt's list of archives.
type source struct {
	uri        string
	suite      string
	components []string
	signedBy   string
}

// archives returns the addresses at which this machine finds Debian's main
// archive and its security archive, likeliest first. The signature on what they
// serve is the proof; this only has to find them.
func archives(etcApt string) (main, security []string, err error) {
	files, err := sourceFiles(etcApt)
	if err != nil {
		return nil, nil, err
	}
	var all []source
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, nil, fmt.Errorf("apt configuration: %w", err)
		}
		if strings.HasSuffix(f, ".sources") {
			all = append(all, parseDeb822(string(b))...)
		} else {
			all = append(all, parseOneLine(string(b))...)
		}
	}
	main, security = choose(all)
	if len(main) == 0 {
		return nil, nil, fmt.Errorf("apt configuration in %s: no Debian archive in %d entries; "+
			"add one, e.g. a line \"deb ADDRESS trixie main\" in %s", etcApt, len(all), filepath.Join(etcApt, "sources.list"))
	}
	return main, security, nil
}

func sourceFiles(etcApt string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*"))
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f string) bool {
		return !strings.HasSuffix(f, ".list") && !strings.HasSuffix(f, ".sources")
	})
	one := filepath.Join(etcApt, "sources.list")
	if _, err := os.Stat(one); err == nil {
		files = append([]string{one}, files...)
	}
	return files, nil
}

// choose picks Debian's own entries. Third parties use Debian's suite names too,
// but not with the component "main" in a path that says debian.
func choose(all []source) (main, security []string) {
	all = slices.DeleteFunc(slices.Clone(all), func(s source) bool {
		return !isDebianSuite(s.suite) || !slices.Contains(s.components, "main")
	})
	slices.SortStableFunc(all, func(a, b source) int { return cmp.Compare(unlikely(a), unlikely(b)) })
	for _, s := range all {
		list := &main
		if strings.HasSuffix(s.suite, "-security") || strings.HasSuffix(s.suite, "/updates") {
			list = &security
		}
		if !slices.Contains(*list, s.uri) {
			*list = append(*list, s.uri)
		}
	}
	return main, security
}

func unlikely(s source) int {
	n := 0
	if !strings.Contains(s.signedBy, "debian-archive") {
		n++
	}
	if !strings.Contains(s.uri, "debian") {
		n++
	}
	return n
}

func isDebianSuite(suite string) bool {
	base, _, _ := strings.Cut(suite, "/")
	base, pocket, _ := strings.Cut(base, "-")
	switch base {
	case "oldoldstable", "oldstable", "stable", "testing", "unstable", "sid",
		"bullseye", "bookworm", "trixie", "forky", "duke":
	default:
		return false
	}
	return slices.Contains([]string{"", "updates", "security", "backports", "proposed-updates"}, pocket)
}

// parseOneLine reads sources.list(5), one-line style. Lines it cannot read are
// passed over, as apt will complain about them to their owner.
func parseOneLine(text string) []source {
	var out []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := cutWord(line, "deb")
		if !ok {
			continue
		}
		var opts string
		if strings.HasPrefix(rest, "[") {
			if opts, rest, ok = strings.Cut(rest[1:], "]"); !ok {
				continue
			}
		}
		f := strings.Fields(rest)
		if len(f) < 2 {
			continue
		}
		s := source{uri: f[0], suite: f[1], components: f[2:]}
		for _, o := range strings.Fields(opts) {
			if v, ok := strings.CutPrefix(o, "signed-by="); ok {
				s.signedBy = v
			}
		}
		out = append(out, s)
	}
	return out
}

// cutWord removes a leading word and the space after it.
func cutWord(s, word string) (string, bool) {
	s = strings.TrimSpace(s)
	rest, ok := strings.CutPrefix(s, word)
	if !ok || rest == "" || !strings.ContainsAny(rest[:1], " \t[") {
		return "", false
	}
	return strings.TrimSpace(rest), true
}

// parseDeb822 reads sources.list(5), deb822 style.
func parseDeb822(text string) []source {
	var out []source
	for _, f := range stanzas(text) {
		types, uris, suites := strings.Fields(f["types"]), strings.Fields(f["uris"]), strings.Fields(f["suites"])
		if !slices.Contains(types, "deb") || strings.EqualFold(f["enabled"], "no") {
			continue
		}
		for _, u := range uris {
			for _, s := range suites {
				out = append(out, source{uri: u, suite: s, components: strings.Fields(f["components"]), signedBy: f["signed-by"]})
			}
		}
	}
	return out
}

// stanzas splits deb822 text into its paragraphs' fields, names in lower case.
func stanzas(text string) []map[string]string {
	var out []map[string]string
	cur, last := map[string]string{}, ""
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if len(cur) > 0 {
				out = append(out, cur)
			}
			cur, last = map[string]string{}, ""
		case line[0] == ' ' || line[0] == '\t':
			if last != "" {
				cur[last] += "\n" + strings.TrimSpace(line)
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if last = ""; ok {
				last = strings.ToLower(strings.TrimSpace(name))
				cur[last] = strings.TrimSpace(value)
			}
		}
	}
	return out
}
