package httpd

import (
	"bytes"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/conditional"
	"micromirror/packages/httpd/tree"
)

// handler lets net/http serve a site.
type handler struct {
	site    *answer.Site
	journal *Journal
}

// serverName is the Server header.
const serverName = "micromirror"

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	if c := clientOf(r); c != nil {
		c.handled()
	}
	w.Header().Set("Server", serverName)
	if r.ContentLength != 0 {
		// Nobody who fetches sends a body, and whoever disagrees with us about
		// where one ends must not have the rest taken for a request.
		w.Header().Set("Connection", "close")
	}
	if len(r.RequestURI) > maxTarget {
		http.Error(w, "request target too long", http.StatusRequestURITooLong)
		h.journal.record(r, "", http.StatusRequestURITooLong, 0, begun)
		return
	}
	resp := h.answer(r)
	defer resp.Close()
	for line := range bytes.SplitSeq(bytes.TrimSuffix(resp.Header, []byte("\r\n")), []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(": "))
		w.Header().Set(string(name), string(value))
	}
	w.WriteHeader(resp.Status)
	var sent int64
	defer func() { h.journal.record(r, resp.Name, resp.Status, sent, begun) }()
	if r.Method == http.MethodHead {
		return
	}
	var err error
	if sent, err = writeBody(w, resp); err != nil {
		// The length has been promised: only a broken connection tells the
		// client that the body is not whole.
		panic(http.ErrAbortHandler)
	}
}

func (h *handler) answer(r *http.Request) *answer.Response {
	if c := clientOf(r); c != nil {
		if status := c.client.Request(time.Now(), []byte(r.UserAgent())); status != 0 {
			return h.site.Refuse(status)
		}
	}
	h.site.Cache.Sync()
	return h.site.Answer(requestOf(r))
}

// requestOf takes from net/http's request what an answer depends on.
func requestOf(r *http.Request) *answer.Request {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		peer = netip.AddrPort{} // an address that may do nothing special
	}
	return &answer.Request{
		Peer: peer.Addr(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Host: r.Host,
		Accept: r.Header.Get("Accept"), Range: r.Header.Get("Range"),
		Cond: conditional.Headers{
			IfMatch:           r.Header.Get("If-Match"),
			IfUnmodifiedSince: r.Header.Get("If-Unmodified-Since"),
			IfNoneMatch:       r.Header.Get("If-None-Match"),
			IfModifiedSince:   r.Header.Get("If-Modified-Since"),
			IfRange:           r.Header.Get("If-Range"),
		},
	}
}

// chunk is what a client must take within stallTimeout.
const chunk = 64 << 10

var buffers = sync.Pool{New: func() any { return new([chunk]byte) }}

// writeBody sends the body and counts what it could write.
func writeBody(w http.ResponseWriter, resp *answer.Response) (sent int64, err error) {
	deadline := http.NewResponseController(w)
	write := func(p []byte) error {
		if err := deadline.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
			return err
		}
		n, err := w.Write(p)
		sent += int64(n)
		return err
	}
	for _, s := range resp.Body {
		data := s.Data
		if data == nil && resp.Item.Body != nil {
			data = resp.Item.Body[s.Off : s.Off+s.Length]
		}
		if data == nil && s.Length > 0 {
			if err := writeFile(write, resp.Item.File, s.Off, s.Length); err != nil {
				return sent, err
			}
			continue
		}
		for part := range slices.Chunk(data, chunk) {
			if err := write(part); err != nil {
				return sent, err
			}
		}
	}
	return sent, nil
}

func writeFile(write func([]byte) error, f *tree.File, off, length int64) error {
	buf := buffers.Get().(*[chunk]byte)
	defer buffers.Put(buf)
	for length > 0 {
		part := buf[:min(length, chunk)]
		if _, err := f.ReadAt(part, off); err != nil {
			return err
		}
		if err := write(part); err != nil {
			return err
		}
		off += int64(len(part))
		length -= int64(len(part))
	}
	return nil
}
