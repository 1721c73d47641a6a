package answer

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strings"

	"micromirror/packages/httpd/page"
)

//go:embed favicon.svg
var favicon []byte

// robots asks crawlers to leave the trees alone: a mirror's files are found by
// their projects, and a crawl of them is load without a reader. wget obeys this
// file when a person tells it to fetch a tree, so it is let in by name.
const robots = "User-agent: wget\nDisallow:\n\nUser-agent: *\nAllow: /$\nDisallow: /\n"

// challengePath is where a certificate authority looks (RFC 8555, section 8.3).
const challengePath = ".well-known/acme-challenge/"

// special answers for the names that the node itself provides, nil for others.
// A file of the same name in the tree is hidden by them.
func (s *Site) special(r *Request, name string, dir bool) *Response {
	if !s.reserved(r, name, dir) {
		return nil
	}
	if name == "." {
		return generated(http.StatusOK, htmlType, page.Front(s.Page, s.Status.Report(), s.Texts, hostOf(r.Host, s.Page.Name)))
	}
	if token, ok := strings.CutPrefix(name, challengePath); ok {
		if content := s.Challenge(token); content != nil {
			return generated(http.StatusOK, "application/octet-stream", content)
		}
		return s.fail(http.StatusNotFound)
	}
	switch name {
	case "status.json":
		return s.statusJSON()
	case "healthz":
		healthy, report := s.Health()
		if healthy {
			return generated(http.StatusOK, "application/json", report)
		}
		return generated(http.StatusServiceUnavailable, "application/json", report)
	case "metrics":
		if body := s.Metrics(r.Peer); body != nil {
			return generated(http.StatusOK, "text/plain; version=0.0.4", body)
		}
		return s.fail(http.StatusForbidden)
	case "robots.txt":
		return generated(http.StatusOK, "text/plain", []byte(robots))
	case "favicon.ico":
		return generated(http.StatusOK, "image/svg+xml", favicon)
	}
	return nil
}

// reserved says whether a name is the node's own.
func (s *Site) reserved(r *Request, name string, dir bool) bool {
	if name == "." {
		return !wantsJSON(r.Accept)
	}
	if dir {
		return false
	}
	switch name {
	case "status.json", "healthz", "metrics", "robots.txt", "favicon.ico":
		return true
	}
	return s.Challenge != nil && strings.HasPrefix(name, challengePath)
}

func (s *Site) statusJSON() *Response {
	body, err := json.MarshalIndent(s.Status.Report(), "", "  ")
	if err != nil {
		return s.fail(http.StatusInternalServerError)
	}
	resp := generated(http.StatusOK, "application/json", append(body, '\n'))
	resp.Header = append(resp.Header, "Access-Control-Allow-Origin: *\r\n"...)
	return resp
}

// hostOf takes the client's Host for the URLs on the front page if it looks like
// one, otherwise the node's own name.
func hostOf(host, name string) string {
	if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]") != "" {
		return name
	}
	return host
}
