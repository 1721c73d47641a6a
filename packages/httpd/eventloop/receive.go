package eventloop

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/conditional"
	"micromirror/packages/httpd/wire"
	"micromirror/packages/tlsrecord"
)

// receive reads from a connection and answers the requests that are complete.
func (l *loop) receive(c *conn) {
	kept := copy(l.buf, c.in)
	n, e := l.read(c, l.buf[kept:])
	switch {
	case e == unix.EAGAIN || e == unix.EINTR:
		return
	case e != 0 || n == 0:
		l.end(c)
		return
	}
	l.handle(c, l.buf[:kept+n])
}

// handle answers the requests at the beginning of data, one after the other, and
// keeps what is left.
func (l *loop) handle(c *conn, data []byte) {
	for {
		// Empty lines in front of a request are to be ignored (RFC 9112, 2.2).
		for bytes.HasPrefix(data, []byte("\r\n")) {
			data = data[2:]
		}
		if len(data) == 0 {
			break
		}
		var r wire.Request
		n, verdict := wire.Parse(data, &r)
		if verdict == wire.Incomplete {
			break
		}
		if verdict == wire.Unusual || !l.respond(c, &r) {
			l.handOver(c, data)
			return
		}
		if c.fd < 0 {
			return // answered, and it was the last
		}
		data = data[n:]
		if c.out != nil || c.helped {
			break
		}
	}
	l.keep(c, data)
}

// keep stores the bytes of requests to come. Without any, the connection is idle
// and holds no buffer.
func (l *loop) keep(c *conn, data []byte) {
	fresh := c.in == nil
	if len(data) == 0 {
		c.in = nil
	} else {
		c.in = append([]byte(nil), data...)
	}
	switch {
	case c.out != nil || c.helped:
	case c.in == nil:
		c.deadline = l.deadlineIn(l.config.Timeouts.Idle)
	case fresh:
		c.deadline = l.deadlineIn(l.config.Timeouts.Head)
	}
}

// respond answers an ordinary request. It reports false if the request turns out
// not to be ordinary.
func (l *loop) respond(c *conn, r *wire.Request) bool {
	c.last = c.last || !r.KeepAlive || l.stopping
	o := &l.scratch
	*o = output{body: l.segment[:0]}
	o.record.Line, o.record.Referer, o.record.UserAgent = r.Line, r.Referer, r.UserAgent
	o.record.Peer, o.record.Time = c.peer, l.now
	if c.tls != nil {
		o.record.TLS = c.tls.version
		c.last = c.last || c.tls.session.Worn()
	}
	if status := c.client.Request(l.now, r.UserAgent); status != 0 {
		l.fromResponse(c, o, r.Head, r.HTTP10, l.config.Site.Refuse(status))
		l.start(c, o)
		return true
	}
	if l.fromCache(c, o, r) {
		l.start(c, o)
		return true
	}
	return l.fromSite(c, o, r)
}

// fromCache answers what is asked most, if it is in the cache: a whole file or
// listing, or whether it is still the one that the client has.
func (l *loop) fromCache(c *conn, o *output, r *wire.Request) bool {
	if r.Range != nil || r.IfMatch != nil || r.IfUnmodifiedSince != nil || bytes.Contains(r.Accept, []byte("json")) {
		return false
	}
	item := l.config.Site.Cached(r.Target)
	if item == nil {
		return false
	}
	o.item = item
	switch {
	case r.IfNoneMatch == nil && r.IfModifiedSince == nil:
		l.fromItem(c, o, r)
	case r.IfNoneMatch != nil && string(r.IfNoneMatch) == item.ETag,
		r.IfNoneMatch == nil && string(r.IfModifiedSince) == item.Modified:
		l.fromResponse(c, o, r.Head, r.HTTP10, &answer.Response{
			Status: http.StatusNotModified, Header: item.Validators, Item: item, Name: item.Name,
		})
	default:
		o.item = nil
		item.Release()
		return false
	}
	return true
}

// fromItem makes the 200 of an item.
func (l *loop) fromItem(c *conn, o *output, r *wire.Request) {
	o.record.Status, o.record.Name = http.StatusOK, o.item.Name
	b := append(l.head[:0], l.okHead...)
	b = append(b, o.item.Header...)
	b = appendConnection(b, r.HTTP10, c.last)
	o.headers = int64(len(b))
	if !r.Head {
		o.body = append(o.body, answer.Segment{Length: o.item.Length})
	}
	o.head, l.head = b, b
}

// fromSite asks the site, by way of a helper if the disk may be needed.
func (l *loop) fromSite(c *conn, o *output, r *wire.Request) bool {
	path, query, ok := wire.Decode(r.Target)
	if !ok {
		return false
	}
	method := http.MethodGet
	if r.Head {
		method = http.MethodHead
	}
	request := &answer.Request{
		Method: method, Path: path, Query: query, Peer: c.peer, Host: string(r.Host), Accept: string(r.Accept), Range: string(r.Range),
		Cond: conditional.Headers{
			IfMatch: string(r.IfMatch), IfUnmodifiedSince: string(r.IfUnmodifiedSince),
			IfNoneMatch: string(r.IfNoneMatch), IfModifiedSince: string(r.IfModifiedSince), IfRange: string(r.IfRange),
		},
	}
	if !l.config.Site.Quick(request) && l.disk.ask(&question{l, c.id, request}) {
		c.question = &asked{r.Head, r.HTTP10, own(o.record)}
		c.helped = true
		l.interest(c, forNothing)
		return true
	}
	l.fromResponse(c, o, r.Head, r.HTTP10, l.config.Site.Answer(request))
	l.start(c, o)
	return true
}

// fromResponse makes what is sent of a site's response.
func (l *loop) fromResponse(c *conn, o *output, head, http10 bool, resp *answer.Response) {
	o.record.Status, o.record.Name, o.item = resp.Status, resp.Name, resp.Item
	b := append(l.head[:0], statusLine(resp.Status)...)
	b = l.appendServer(b)
	b = append(b, resp.Header...)
	b = appendConnection(b, http10, c.last)
	o.headers = int64(len(b))
	if !head {
		o.body = append(o.body, resp.Body...)
	}
	o.head, l.head = b, b
}

// appendConnection ends a head. HTTP/1.0 clients want to be told that the
// connection stays.
func appendConnection(b []byte, http10, last bool) []byte {
	switch {
	case last:
		b = append(b, "Connection: close\r\n"...)
	case http10:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

func statusLine(code int) string {
	switch code {
	case http.StatusPartialContent:
		return "HTTP/1.1 206 Partial Content\r\n"
	case http.StatusNotModified:
		return "HTTP/1.1 304 Not Modified\r\n"
	case http.StatusNotFound:
		return "HTTP/1.1 404 Not Found\r\n"
	}
	return "HTTP/1.1 " + string([]byte{byte('0' + code/100), byte('0' + code/10%10), byte('0' + code%10)}) + " " +
		http.StatusText(code) + "\r\n"
}

// handOver gives a connection and what has been read of it away.
func (l *loop) handOver(c *conn, data []byte) {
	control(l.epoll, unix.EPOLL_CTL_DEL, c.fd, &unix.EpollEvent{})
	data = bytes.Clone(data)
	file := os.NewFile(uintptr(c.fd), "connection")
	client, s := c.client, c.tls
	c.client = nil
	l.remove(c)
	socket, err := net.FileConn(file)
	file.Close()
	if err != nil {
		client.Done()
		return
	}
	h := &handedOver{Conn: socket, read: data, done: sync.OnceFunc(client.Done)}
	if s != nil {
		h.Conn, h.read, h.session = tlsrecord.NewConn(socket, s.session, data), nil, s.session
	}
	l.config.Unusual(h, client)
}

// handedOver is a connection whose first bytes have been read already.
type handedOver struct {
	net.Conn
	read    []byte
	done    func()
	session *tlsrecord.Session
}

// Session returns the TLS session, nil on a plain connection.
func (h *handedOver) Session() *tlsrecord.Session { return h.session }

func (h *handedOver) Read(p []byte) (int, error) {
	if len(h.read) > 0 {
		n := copy(p, h.read)
		h.read = h.read[n:]
		return n, nil
	}
	return h.Conn.Read(p)
}

func (h *handedOver) Close() error {
	h.done()
	return h.Conn.Close()
}

// CloseWrite lets net/http end its side first, so that a client that is still
// sending gets to read the refusal.
func (h *handedOver) CloseWrite() error {
	if half, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
