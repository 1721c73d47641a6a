package page

import (
	"html"
	"slices"
	"strconv"
	"strings"
	"time"

	"micromirror/packages/certificate"
	"micromirror/packages/httpd/status"
)

// Text is what the front page says about one project beyond its state.
type Text struct {
	Description string
	Clients     []Client
	Module      string // of the rsync server, empty for none
	ModulePath  string // where the project is in it, empty for all of it
}

// Client is a snippet to paste. {url} in its lines stands for the project's URL.
type Client struct {
	Name  string
	Lines []string
}

// Front makes the page at "/". host is the name by which the reader came; the
// URLs on the page use it, so that country aliases show their own.
func Front(site Site, report *status.Report, texts map[string]Text, host string) []byte {
	b := appendHead(make([]byte, 0, 16<<10), site, site.Name, "A mirror of free software")
	b = append(b, "<p>"+html.EscapeString(intro(site))+"</p>\n"...)
	if words := report.Certificate.Words(report.Time); words != "" {
		b = append(b, "<p class=warn>HTTPS: "+html.EscapeString(words)+"</p>\n"...)
	}
	schemes := schemes(report, host)
	for i := range report.Projects {
		p := &report.Projects[i]
		b = appendProject(b, p, texts[p.Name], schemes, host, report.Time)
	}
	b = appendTotal(b, report)
	return AppendFoot(b, site)
}

// schemes are by which the host is reached: by HTTPS only if the certificate says
// so.
func schemes(report *status.Report, host string) []string {
	c := report.Certificate
	if c.State == certificate.Valid && report.Time.Before(c.NotAfter) && slices.Contains(c.Names, host) {
		return []string{"http", "https"}
	}
	return []string{"http"}
}

// appendTotal sums the projects up.
func appendTotal(b []byte, report *status.Report) []byte {
	var size, files int64
	for i := range report.Projects {
		size += report.Projects[i].Size
		files += report.Projects[i].Files
	}
	switch n := len(report.Projects); {
	case n == 0:
		return append(b, "<p class=warn>No project is configured on this node.</p>\n"...)
	case n > 1 && files > 0:
		b = append(b, "<p class=total>"+strconv.Itoa(n)+" projects, "...)
		b = append(AppendGrouped(b, files), " files, "...)
		return append(AppendSize(b, size), "</p>\n"...)
	}
	return b
}

func intro(site Site) string {
	if site.Description != "" {
		return site.Description
	}
	s := "This is " + site.Name
	if site.Sponsor != "" {
		s += ", hosted by " + site.Sponsor
	}
	if site.Location != "" {
		s += " in " + site.Location
	}
	return s + ". Everything is served to everyone."
}

func appendProject(b []byte, p *status.Project, t Text, schemes []string, host string, now time.Time) []byte {
	url := schemes[0] + "://" + host + p.URL
	b = append(b, `<section id="`+html.EscapeString(p.Name)+`"><h2><a href="`+html.EscapeString(strings.TrimPrefix(p.URL, "/"))+`">`...)
	b = append(b, html.EscapeString(p.Title)+"</a></h2>\n"...)
	if t.Description != "" {
		b = append(b, "<p>"+html.EscapeString(t.Description)+"</p>\n"...)
	}
	b = append(b, "<p class=facts>"...)
	b = appendState(b, p, now)
	if p.Files > 0 {
		b = append(b, `<span title="`...)
		b = AppendGrouped(b, p.Size)
		b = append(b, ` bytes">`...)
		b = AppendSize(b, p.Size)
		b = append(b, "</span><span>"...)
		b = AppendGrouped(b, p.Files)
		b = append(b, " files</span>"...)
	}
	if p.ServedDay > 0 {
		b = append(b, `<span title="`+strconv.FormatFloat(p.Efficiency, 'f', 3, 64)+` times its size">`...)
		b = append(AppendSize(b, p.ServedDay), " served in 24 h"...)
		if p.Efficiency >= 0.01 {
			b = append(b, ", "+strconv.FormatFloat(p.Efficiency, 'f', 2, 64)+"× its size"...)
		}
		b = append(b, "</span>"...)
	}
	b = append(b, "</p>\n"...)
	if words := trouble(p, now); words != "" {
		b = append(b, "<p class=warn>"+html.EscapeString(words)+"</p>\n"...)
	}
	b = append(b, "<p class=facts>"...)
	for _, scheme := range schemes {
		href := html.EscapeString(scheme + "://" + host + p.URL)
		b = append(b, `<span><a href="`+href+`">`+href+"</a></span>"...)
	}
	if t.Module != "" {
		b = append(b, "<span>"+html.EscapeString(rsyncURL(t, url))+"</span>"...)
	}
	b = append(b, "</p>\n"...)
	if p.Progress != nil {
		b = appendProgress(b, p.Progress)
	}
	return append(appendClients(b, t.Clients, url), "</section>\n"...)
}

// rsyncURL is a project's address at the rsync server of the host in url.
func rsyncURL(t Text, url string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	s := "rsync://" + host + "/" + t.Module + "/"
	if t.ModulePath != "" {
		s += t.ModulePath + "/"
	}
	return s
}

// appendState says in words and colour how the project is.
func appendState(b []byte, p *status.Project, now time.Time) []byte {
	class, words := state(p)
	b = append(b, "<span class="+class+">"+html.EscapeString(words)+"</span>"...)
	if !p.LastUpdate.IsZero() {
		b = append(b, `<span title="`+p.LastUpdate.UTC().Format("2006-01-02 15:04:05 UTC")+`">last sync `...)
		b = append(b, ago(now.Sub(p.LastUpdate))+"</span>"...)
	}
	return b
}

func state(p *status.Project) (class, words string) {
	switch {
	case p.OutOfService != "":
		return "bad", "out of service"
	case !p.Serving:
		return "bad", "being repaired, back soon"
	case p.Freshness == "unknown" && p.Status == "syncing":
		return "warn", "first synchronisation under way"
	case p.Freshness == "unknown":
		return "warn", "not synchronised yet"
	case p.Freshness == "stale":
		return "bad", "out of date"
	case p.Stale:
		return "warn", "in step with an upstream that is out of date"
	case p.Status == "syncing":
		return "good", "up to date, synchronising"
	case p.Status == "failed":
		return "warn", "last synchronisation failed"
	}
	return "good", "up to date"
}

// trouble says what is wrong with a project, empty if nothing is.
func trouble(p *status.Project, now time.Time) string {
	var words []string
	if p.OutOfService != "" {
		words = append(words, "Out of service: "+p.OutOfService)
	}
	if p.Status == "failed" && p.Error != "" {
		words = append(words, p.Error)
	}
	if p.WrongFiles > 0 {
		words = append(words, strconv.Itoa(p.WrongFiles)+" of "+strconv.Itoa(p.CheckedFiles)+" files compared differ from upstream's")
	}
	if !p.BehindSince.IsZero() {
		words = append(words, "upstream has something newer, first seen "+ago(now.Sub(p.BehindSince)))
	}
	return strings.Join(words, "; ")
}

// ago rounds an age to one unit.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min ago"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h ago"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days ago"
}

func appendProgress(b []byte, p *status.Progress) []byte {
	b = append(b, "<p class=dim>"+html.EscapeString(phase(p.Phase))...)
	if p.BytesTotal == 0 { // a phase without bytes to count
		return append(b, "</p>\n"...)
	}
	b = append(b, ": "...)
	b = AppendSize(b, p.BytesDone)
	b = append(b, " of "...)
	b = AppendSize(b, p.BytesTotal)
	if p.ETASeconds > 0 {
		b = append(b, ", "+strconv.Itoa(int(p.ETASeconds/60)+1)+" min left"...)
	}
	b = append(b, "<progress max="...)
	b = strconv.AppendInt(b, p.BytesTotal, 10)
	b = append(b, " value="...)
	b = strconv.AppendInt(b, p.BytesDone, 10)
	return append(b, "></progress></p>\n"...)
}

// phase says for people what a run does.
func phase(name string) string {
	switch name {
	case "list":
		return "reading upstream's list"
	case "plan":
		return "comparing with upstream"
	case "fetch":
		return "fetching"
	case "verify":
		return "checking what was fetched"
	case "publish":
		return "publishing"
	case "delete":
		return "removing what upstream removed"
	}
	return name
}

func appendClients(b []byte, clients []Client, url string) []byte {
	fill := strings.NewReplacer("{url}", strings.TrimSuffix(url, "/"))
	for _, c := range clients {
		b = append(b, "<details><summary>Use it with "+html.EscapeString(c.Name)+"</summary><pre>"...)
		b = append(b, html.EscapeString(fill.Replace(strings.Join(c.Lines, "\n")))...)
		b = append(b, "</pre></details>\n"...)
	}
	return b
}
