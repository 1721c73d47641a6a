package answer

import (
	"net/http"
	"net/url"
	"strings"

	"micromirror/packages/httpd/conditional"
	"micromirror/packages/httpd/listing"
	"micromirror/packages/httpd/page"
	"micromirror/packages/httpd/status"
	"micromirror/packages/httpd/tree"
)

// directory answers with a listing.
func (s *Site) directory(r *Request, dir *tree.File, project *status.Project) *Response {
	entries, err := s.Tree.ReadDir(dir)
	if err != nil {
		return s.fail(statusOf(err))
	}
	var resp *Response
	order := listing.ParseOrder(r.Query)
	listing.Sort(entries, order)
	if wantsJSON(r.Accept) {
		body, err := listing.JSON(entries)
		if err != nil {
			return s.fail(http.StatusInternalServerError)
		}
		resp = generated(http.StatusOK, "application/json", body)
	} else {
		resp = generated(http.StatusOK, htmlType, listing.HTML(s.Page, dir.Name, s.about(dir.Name, project), entries, order))
	}
	resp.Header = append(resp.Header, "Vary: Accept\r\nLast-Modified: "...)
	modTime := listing.Latest(entries, dir.ModTime())
	resp.Header = append(modTime.UTC().AppendFormat(resp.Header, http.TimeFormat), "\r\n"...)
	cond := conditional.Headers{IfModifiedSince: r.Cond.IfModifiedSince}
	if conditional.Evaluate(cond, conditional.Validators{ModTime: modTime}) == conditional.NotModified {
		return &Response{Status: http.StatusNotModified, Header: []byte("Cache-Control: no-cache\r\nVary: Accept\r\n")}
	}
	return resp
}

// about is the description above a project's own directory.
func (s *Site) about(name string, project *status.Project) string {
	if project == nil || project.Path != name {
		return ""
	}
	return s.Texts[project.Name].Description
}

// wantsJSON says whether JSON was asked for by name; "*/*" gets HTML.
func wantsJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(part, ";")
		switch strings.TrimSpace(kind) {
		case "application/json":
			return true
		case "text/html":
			return false
		}
	}
	return false
}

// redirect adds the slash that a directory's URL ends in. The location is a
// path only: whatever name or scheme the client used stays.
func (s *Site) redirect(r *Request, name string) *Response {
	location := (&url.URL{Path: "/" + name + "/", RawQuery: r.Query}).String()
	resp := generated(http.StatusMovedPermanently, htmlType, page.Error(s.Page, http.StatusMovedPermanently))
	resp.Header = append(resp.Header, "Location: "+location+"\r\n"...)
	return resp
}
