// Package answer decides what a request gets, apart from how requests arrive.
//
// It is the whole behaviour of the file server as one function from Request to
// Response, without sockets: the event loop that serves ordinary requests and
// net/http, which takes the unusual ones, both call it, so that they cannot
// differ.
//
// It promises the conformance core: the same tree for every Host; Last-Modified
// is the file's modification time to the second; no Content-Encoding, whatever
// the client accepts; ranges and conditions per RFC 9110; directories end in a
// slash and list; nothing outside the web root; 403 for what upstream hides; 503
// for a project whose publish is being completed.
package answer

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	"micromirror/packages/httpd/byterange"
	"micromirror/packages/httpd/cache"
	"micromirror/packages/httpd/conditional"
	"micromirror/packages/httpd/page"
	"micromirror/packages/httpd/status"
	"micromirror/packages/httpd/tree"
)

// Request is what an answer depends on.
type Request struct {
	Method string
	Path   string // percent-decoded, begins with "/"
	Query  string // raw
	Host   string // as the client sent it
	Peer   netip.Addr
	Accept string
	Range  string
	Cond   conditional.Headers
}

// Segment is a piece of a body: bytes, or where Data is nil a part of the
// response's item.
type Segment struct {
	Data        []byte
	Off, Length int64
}

// Response is what to send. Header holds complete lines ending in CRLF,
// everything but Date and Connection. Close it when it has been sent.
type Response struct {
	Status int
	Header []byte
	Length int64 // of the body
	Body   []Segment
	Item   *cache.Item // has the file that Body refers to, nil where there is none
	Name   string      // what was asked for, below the web root
}

// Close releases what the response is sent from.
func (r *Response) Close() {
	if r.Item != nil {
		r.Item.Release()
		r.Item = nil
	}
}

// Site answers requests.
type Site struct {
	pages  sync.Map // error pages by status
	Tree   *tree.Tree
	Cache  *cache.Cache
	Page   page.Site
	Texts  map[string]page.Text // by project name
	Status *status.Watch
	// Challenge returns what a certificate authority wants to read under a token,
	// nil if nothing; it does not wait. It may be nil.
	Challenge func(token string) []byte
	// Health returns whether the node is healthy and the report, for /healthz.
	Health func() (bool, []byte)
	// Metrics returns the body of /metrics, nil for who may not read it.
	Metrics func(peer netip.Addr) []byte
}

// allow lists the methods served.
const allow = "GET, HEAD, OPTIONS"

// Answer makes the response to a request.
func (s *Site) Answer(r *Request) *Response {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		return &Response{Status: http.StatusNoContent, Header: []byte("Allow: " + allow + "\r\n")}
	default:
		resp := s.fail(http.StatusMethodNotAllowed)
		resp.Header = append(resp.Header, "Allow: "+allow+"\r\n"...)
		return resp
	}
	name, dir, ok := tree.Clean(r.Path)
	if !ok {
		return s.fail(http.StatusBadRequest)
	}
	if resp := s.special(r, name, dir); resp != nil {
		return resp
	}
	project := s.Status.Report().Of(name)
	resp := s.file(r, name, dir, project)
	resp.Name = name
	return resp
}

// file answers for a name in the tree.
func (s *Site) file(r *Request, name string, dir bool, project *status.Project) *Response {
	if project != nil && !project.Serving {
		return s.later()
	}
	item, err := s.item(r, name, dir)
	switch {
	case errors.Is(err, errDirectory):
		return s.redirect(r, name)
	case errors.Is(err, tree.ErrNotExist) && project != nil && project.Path == name && project.LastUpdate.IsZero():
		return s.later() // configured, and its first synchronisation is not through
	case err != nil:
		return s.fail(statusOf(err))
	}
	return s.content(r, item)
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, tree.ErrNotExist):
		return http.StatusNotFound
	case errors.Is(err, tree.ErrPermission):
		return http.StatusForbidden
	}
	return http.StatusServiceUnavailable
}

// later answers for what will be there in a little while.
func (s *Site) later() *Response {
	resp := s.fail(http.StatusServiceUnavailable)
	resp.Header = append(resp.Header, "Retry-After: 30\r\n"...)
	return resp
}

// content answers with an item, which it takes over.
func (s *Site) content(r *Request, item *cache.Item) *Response {
	v := conditional.Validators{ETag: item.ETag, ModTime: item.ModTime}
	switch conditional.Evaluate(r.Cond, v) {
	case conditional.NotModified:
		return &Response{Status: http.StatusNotModified, Header: item.Validators, Item: item}
	case conditional.PreconditionFailed:
		item.Release()
		return s.fail(http.StatusPreconditionFailed)
	}
	if r.Range != "" && r.Method == http.MethodGet && conditional.RangeApplies(r.Cond.IfRange, v) {
		ranges, err := byterange.Parse(r.Range, item.Length)
		if errors.Is(err, byterange.ErrUnsatisfiable) {
			resp := s.fail(http.StatusRequestedRangeNotSatisfiable)
			resp.Header = append(resp.Header, "Content-Range: bytes */"+strconv.FormatInt(item.Length, 10)+"\r\n"...)
			item.Release()
			return resp
		}
		if len(ranges) > 0 {
			return partial(item, ranges)
		}
	}
	return &Response{
		Status: http.StatusOK, Header: item.Header, Length: item.Length, Item: item,
		Body: []Segment{{Length: item.Length}},
	}
}

// validatorLines are common to 200, 206 and 304.
func validatorLines(v conditional.Validators, cache string) []byte {
	b := append(make([]byte, 0, 320), "Last-Modified: "...)
	b = v.ModTime.UTC().AppendFormat(b, http.TimeFormat)
	return append(b, "\r\nETag: "+v.ETag+"\r\nCache-Control: "+cache+"\r\nAccept-Ranges: bytes\r\n"...)
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// generated answers with bytes made here: pages, listings, reports.
func generated(code int, contentType string, body []byte) *Response {
	h := append(make([]byte, 0, 160), "Content-Type: "+contentType+"\r\nCache-Control: no-cache\r\n"...)
	return &Response{
		Status: code, Header: appendLength(h, int64(len(body))), Length: int64(len(body)),
		Body: []Segment{{Data: body, Length: int64(len(body))}},
	}
}

const htmlType = "text/html; charset=utf-8"

// Refuse is the answer to a request that is not let in at all.
func (s *Site) Refuse(code int) *Response {
	resp := s.fail(code)
	resp.Header = append(resp.Header, "Retry-After: 30\r\n"...)
	return resp
}

func (s *Site) fail(code int) *Response {
	body, ok := s.pages.Load(code)
	if !ok {
		body, _ = s.pages.LoadOrStore(code, page.Error(s.Page, code))
	}
	return generated(code, htmlType, body.([]byte))
}
