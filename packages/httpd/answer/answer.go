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
	"strconv"

	"micromirror/packages/httpd/byterange"
	"micromirror/packages/httpd/conditional"
	"micromirror/packages/httpd/mimetype"
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
	Accept string
	Range  string
	Cond   conditional.Headers
}

// Segment is a piece of a body: bytes, or a part of the response's file.
type Segment struct {
	Data        []byte
	Off, Length int64
}

// Response is what to send. Header holds complete lines ending in CRLF,
// everything but Date and Connection. Close it when it has been sent.
type Response struct {
	Status  int
	Header  []byte
	Length  int64 // of the body
	Body    []Segment
	File    *tree.File
	Project *status.Project // whose tree was asked for, nil outside of all
}

// Close releases the file.
func (r *Response) Close() {
	if r.File != nil {
		r.File.Close()
		r.File = nil
	}
}

// Site answers requests.
type Site struct {
	Tree   *tree.Tree
	Page   page.Site
	Texts  map[string]page.Text // by project name
	Status *status.Watch
	// Health returns whether the node is healthy and the report, for /healthz.
	Health func() (bool, []byte)
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
	resp.Project = project
	return resp
}

// file answers for a name in the tree.
func (s *Site) file(r *Request, name string, dir bool, project *status.Project) *Response {
	if project != nil && !project.Serving {
		return s.later()
	}
	f, err := s.Tree.Lookup(name)
	if errors.Is(err, tree.ErrNotExist) && project != nil && project.Path == name && project.LastUpdate.IsZero() {
		return s.later() // configured, and its first synchronisation is not through
	}
	if err != nil {
		return s.fail(statusOf(err))
	}
	if f.IsDir() {
		defer f.Close()
		if !dir {
			return s.redirect(r, name)
		}
		return s.directory(r, f, project)
	}
	if dir {
		f.Close()
		return s.fail(http.StatusNotFound)
	}
	return s.content(r, f)
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

// content answers with a regular file. It takes the file over.
func (s *Site) content(r *Request, f *tree.File) *Response {
	v := conditional.Validators{ETag: conditional.ETag(f.ModTime(), f.Size()), ModTime: f.ModTime()}
	validators := validatorLines(v, cacheControl(f.Name))
	switch conditional.Evaluate(r.Cond, v) {
	case conditional.NotModified:
		f.Close()
		return &Response{Status: http.StatusNotModified, Header: validators}
	case conditional.PreconditionFailed:
		f.Close()
		return s.fail(http.StatusPreconditionFailed)
	}
	if r.Range != "" && r.Method == http.MethodGet && conditional.RangeApplies(r.Cond.IfRange, v) {
		ranges, err := byterange.Parse(r.Range, f.Size())
		if errors.Is(err, byterange.ErrUnsatisfiable) {
			resp := s.fail(http.StatusRequestedRangeNotSatisfiable)
			resp.Header = append(resp.Header, "Content-Range: bytes */"+strconv.FormatInt(f.Size(), 10)+"\r\n"...)
			f.Close()
			return resp
		}
		if len(ranges) > 0 {
			return partial(f, ranges, validators)
		}
	}
	header := append(validators, "Content-Type: "+mimetype.Of(f.Name)+"\r\n"...)
	resp := &Response{Status: http.StatusOK, File: f, Length: f.Size(), Body: []Segment{{Length: f.Size()}}}
	resp.Header = appendLength(header, resp.Length)
	return resp
}

// validatorLines are common to 200, 206 and 304.
func validatorLines(v conditional.Validators, cache string) []byte {
	b := append(make([]byte, 0, 256), "Last-Modified: "...)
	b = v.ModTime.UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nETag: "+v.ETag+"\r\nAccept-Ranges: bytes\r\nCache-Control: "+cache+"\r\n"...)
	return b
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

func (s *Site) fail(code int) *Response {
	return generated(code, htmlType, page.Error(s.Page, code))
}
