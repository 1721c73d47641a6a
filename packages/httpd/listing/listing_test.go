package listing

import (
	"encoding/json"
	"html"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"micromirror/packages/httpd/page"
	"micromirror/packages/httpd/tree"
)

var when = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func entries() []tree.Entry {
	return []tree.Entry{
		{Name: "dists", Dir: true, ModTime: when},
		{Name: "C=N;O=D", Dir: true, ModTime: when},
		{Name: "a+b:c d%20é_1.0~rc1.deb", Size: 1234567, ModTime: when.Add(time.Hour)},
		{Name: "bad\xff.iso", Size: 5 << 30, ModTime: when},
		{Name: `<b>&"'.txt`, Size: 0, ModTime: when},
		{Name: "?C=N;O=D", Size: 17, ModTime: when},
		{Name: strings.Repeat("long-", 40) + "name.rpm", Size: 1 << 20, ModTime: when},
		{Name: "mirror.example.org", Size: 300, ModTime: when},
	}
}

var site = page.Site{Name: "test.mirror.example", Sponsor: "Example & Co", SponsorURL: "https://sponsor.example/?C=N;O=D", Contact: "a@b.example"}

func render(order Order) string {
	return string(HTML(site, "debian/x", "All of Debian.", entries(), order))
}

// found is what a checker makes of an entry.
type found struct {
	Name string
	Date string
	Size string
}

// MirrorBrain takes a page with a bare table and a sort link for Apache's,
// replaces row and cell tags by spaces, and reads link, date and size off each
// line.
func TestMirrorBrainRules(t *testing.T) {
	begin := regexp.MustCompile(`(?s)^.*<(?:PRE|pre|table)>.*<(?:a href|A HREF)="\?(?:N=A|C=.*;O=)[^"]*">`)
	end := regexp.MustCompile(`(?s)</(?:PRE|pre|table)>.*$`)
	cells := regexp.MustCompile(`</*t[rd].*?>`)
	entry := regexp.MustCompile(`^(.*)[Hh][Rr][Ee][Ff]="([^"]+)">([^<]+)</[Aa]>\s+([\w\s:-]+)\s+(-|[\d\.]+[KMG]?)`)
	doc := render(Order{Column: 'N'})
	if !begin.MatchString(doc) {
		t.Fatal("not taken for a listing")
	}
	doc = end.ReplaceAllString(begin.ReplaceAllString(doc, ""), "")
	var got []found
	for line := range strings.Lines(doc) {
		m := entry.FindStringSubmatch(cells.ReplaceAllString(strings.TrimSuffix(line, "\n"), " "))
		if m == nil || strings.HasPrefix(m[2], "/") || strings.HasPrefix(m[2], "..") {
			continue
		}
		name, err := url.PathUnescape(m[2])
		if err != nil {
			t.Error(err)
		}
		got = append(got, found{name, strings.TrimSpace(m[4]), m[5]})
	}
	if diff := cmp.Diff(expected("02-Jan-2006 15:04", true), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func expected(layout string, slash bool) []found {
	var want []found
	for _, e := range entries() {
		f := found{e.Name, e.ModTime.Format(layout), "-"}
		if !e.Dir {
			f.Size = jsonNumber(e.Size)
		} else if slash {
			f.Name += "/"
		}
		want = append(want, f)
	}
	return want
}

func jsonNumber(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// MirrorCache walks tags and text: a link's text must begin as its name does,
// and a later text node must hold date and size together.
func TestMirrorCacheRules(t *testing.T) {
	token := regexp.MustCompile(`<a href="([^"]*)">|<[^>]*>|[^<]+`)
	dateAndSize := regexp.MustCompile(`(\d{2}-[A-Z][a-z]{2}-\d{4} \d{2}:\d{2})\s+(-|\d+)`)
	_, body, _ := strings.Cut(render(Order{Column: 'N'}), "</style>")
	var got []found
	href, current := "", found{}
	for _, m := range token.FindAllStringSubmatch(body, -1) {
		switch {
		case m[1] != "":
			name, err := url.PathUnescape(m[1])
			if err != nil {
				t.Error(err)
			}
			href = ""
			if name != "../" && !strings.Contains(strings.TrimSuffix(name, "/"), "/") && name != "/" {
				href = name
			}
		case m[0][0] == '<':
			if m[0] == "</a>" {
				href = ""
			}
		default:
			text := strings.TrimSpace(html.UnescapeString(m[0]))
			if href != "" && prefix(href) == prefix(text) {
				if current.Name != "" {
					got = append(got, current)
				}
				current = found{Name: href}
			} else if f := dateAndSize.FindStringSubmatch(text); f != nil && current.Name != "" && current.Date == "" {
				current.Date, current.Size = f[1], f[2]
			}
		}
	}
	got = append(got, current)
	want := expected("02-Jan-2006 15:04", true)
	for i, f := range want { // a name that is no UTF-8 cannot be told in text
		if strings.Contains(f.Name, "\xff") {
			want = append(want[:i], want[i+1:]...)
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func prefix(s string) string { return s[:min(20, len(s))] }

// Debian's checker reads the names of trace files off the links.
func TestTraceRules(t *testing.T) {
	link := regexp.MustCompile(`<a href="([A-Za-z0-9._-]+)">`)
	var got []string
	for _, m := range link.FindAllStringSubmatch(render(Order{Column: 'N'}), -1) {
		got = append(got, m[1])
	}
	want := []string{path.Base(strings.Repeat("long-", 40) + "name.rpm"), "mirror.example.org"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMarkupIsEscaped(t *testing.T) {
	doc := render(Order{Column: 'N'})
	for _, bad := range []string{"<b>&", `"'.txt`} {
		if strings.Contains(doc, bad) {
			t.Errorf("listing contains %s", bad)
		}
	}
}

func TestParseOrder(t *testing.T) {
	for query, want := range map[string]Order{
		"": {Column: 'N'}, "C=S;O=D": {'S', true}, "C=M&O=A": {Column: 'M'}, "F=1": {Column: 'N'},
		"F=1&C=S": {Column: 'S'}, "C=X;O=Y": {Column: 'N'}, "O=D": {'N', true}, "C=": {Column: 'N'},
	} {
		if got := ParseOrder(query); got != want {
			t.Errorf("ParseOrder(%q) = %+v, want %+v", query, got, want)
		}
	}
}

func TestSort(t *testing.T) {
	list := []tree.Entry{{Name: "b", Size: 1, ModTime: when}, {Name: "d", Dir: true}, {Name: "a", Size: 2}, {Name: "c", Size: 1}}
	for order, want := range map[Order]string{
		{'N', false}: "dabc", {'N', true}: "dcba", {'S', false}: "dbca", {'S', true}: "dabc", {'M', false}: "dacb", {'M', true}: "dbac",
	} {
		Sort(list, order)
		got := ""
		for _, e := range list {
			got += e.Name
		}
		if got != want {
			t.Errorf("%c, descending %v: %s, want %s", order.Column, order.Descending, got, want)
		}
	}
}

// However the names begin, the order is that of their bytes.
func FuzzSort(f *testing.F) {
	f.Add("a\nab\nabc\x00\nab\x00\nb")
	f.Add("package-name-1\npackage-name-10\npackage-name-2\npackage-name-123456789\npackage-name-123456788")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var list []tree.Entry
		for i, name := range strings.Split(text, "\n") {
			list = append(list, tree.Entry{Name: name, Size: int64(i % 3), ModTime: when.Add(time.Duration(i%4) * time.Second / 2)})
		}
		for _, order := range []Order{{'N', false}, {'N', true}, {'M', false}, {'S', true}} {
			Sort(list, order)
			for i := range len(list) - 1 {
				c := compare(&list[i], &list[i+1], order.Column)
				if order.Descending {
					c = -c
				}
				if c > 0 || c == 0 && list[i].Name > list[i+1].Name {
					t.Fatalf("%c: %q before %q", order.Column, list[i].Name, list[i+1].Name)
				}
			}
		}
	})
}

func TestJSON(t *testing.T) {
	got, err := JSON(entries()[:3])
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"dists","type":"directory","mtime":"Fri, 02 Jan 2026 03:04:05 GMT"},` +
		`{"name":"C=N;O=D","type":"directory","mtime":"Fri, 02 Jan 2026 03:04:05 GMT"},` +
		`{"name":"a+b:c d%20é_1.0~rc1.deb","type":"file","mtime":"Fri, 02 Jan 2026 04:04:05 GMT","size":1234567}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, err := JSON(nil); err != nil || string(got) != "[]" {
		t.Errorf("empty directory: %s, %v", got, err)
	}
}

// FuzzNames makes sure that every name survives the way into a link and back and
// cannot break out of the page.
func FuzzNames(f *testing.F) {
	f.Add("a+b:c d%20\xff<\"'")
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || strings.ContainsAny(name, "/\x00") {
			return
		}
		row := string(appendRow(nil, &tree.Entry{Name: name, ModTime: when}, &stamps{}))
		m := regexp.MustCompile(`^<tr><td><a href="([^"<>]+)">([^<>]*)</a><td hidden>`).FindStringSubmatch(row)
		if m == nil {
			t.Fatalf("row %q", row)
		}
		if back, err := url.PathUnescape(m[1]); err != nil || back != name {
			t.Fatalf("link %q means %q, %v", m[1], back, err)
		}
		if u, err := url.Parse(m[1]); err != nil || u.Scheme != "" || u.Host != "" || u.RawQuery != "" {
			t.Fatalf("link %q is more than a path: %v", m[1], err)
		}
	})
}
