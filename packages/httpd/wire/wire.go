// Package wire reads the ordinary HTTP/1 request and recognises every other.
//
// Nearly all requests that a mirror gets are a plain GET or HEAD with a few
// header lines. Parse reads exactly these, without copying or allocating, and
// promises to understand them as net/http does (a differential fuzz test holds
// it to that). Whatever is not certainly ordinary (bodies, Expect, Upgrade,
// absolute targets, folded lines, bare line feeds, repeated or odd headers,
// anything malformed or too large) it calls Unusual, for net/http to take.
package wire

import "bytes"

// Request is a parsed request head. All slices point into the parsed bytes.
type Request struct {
	Head      bool // HEAD, otherwise GET
	HTTP10    bool
	KeepAlive bool
	Line      []byte // the request line without its CRLF
	Target    []byte // as sent: path and query, percent-encoded

	Host, Accept, UserAgent, Referer     []byte
	Range, IfRange, IfMatch, IfNoneMatch []byte
	IfModifiedSince, IfUnmodifiedSince   []byte
	connection                           []byte
}

// Verdict is what Parse made of the bytes.
type Verdict int

// The verdicts: more bytes are needed, r holds the request, or net/http is to
// read it.
const (
	Incomplete Verdict = iota
	Ordinary
	Unusual
)

// MaxHead bounds an ordinary request's head.
const MaxHead = 8 << 10

// Parse reads one request head from the beginning of buf. n is its length when
// the verdict is Ordinary.
func Parse(buf []byte, r *Request) (n int, v Verdict) {
	*r = Request{}
	end := bytes.Index(buf, []byte("\r\n\r\n"))
	if end < 0 {
		if len(buf) >= MaxHead || !plausible(buf) {
			return 0, Unusual
		}
		return 0, Incomplete
	}
	if end+4 > MaxHead {
		return 0, Unusual
	}
	line, rest := cutLine(buf[:end+2])
	if !r.parseLine(line) {
		return 0, Unusual
	}
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		if !r.parseHeader(line) {
			return 0, Unusual
		}
	}
	if !r.finish() {
		return 0, Unusual
	}
	return end + 4, Ordinary
}

// plausible says whether an unfinished head may still become ordinary, so that
// net/http can refuse garbage at once. Bare line feeds never do.
func plausible(buf []byte) bool {
	prefix := func(s string) bool {
		n := min(len(s), len(buf))
		return string(buf[:n]) == s[:n]
	}
	if !prefix("GET /") && !prefix("HEAD /") {
		return false
	}
	for i, c := range buf {
		if c == '\n' && buf[i-1] != '\r' {
			return false
		}
	}
	return true
}

// cutLine takes the line before the first CRLF off. The caller made sure that
// buf ends in one.
func cutLine(buf []byte) (line, rest []byte) {
	i := bytes.Index(buf, []byte("\r\n"))
	return buf[:i], buf[i+2:]
}

// parseLine reads "GET /path HTTP/1.1".
func (r *Request) parseLine(line []byte) bool {
	r.Line = line
	switch {
	case bytes.HasPrefix(line, []byte("GET /")):
		line = line[4:]
	case bytes.HasPrefix(line, []byte("HEAD /")):
		r.Head = true
		line = line[5:]
	default:
		return false
	}
	const version = " HTTP/1.1"
	if len(line) < len(version) {
		return false
	}
	target, proto := line[:len(line)-len(version)], line[len(line)-len(version):]
	switch string(proto) {
	case version:
	case " HTTP/1.0":
		r.HTTP10 = true
	default:
		return false
	}
	r.Target = target
	return ordinaryTarget(target)
}

// ordinaryTarget accepts visible ASCII without a fragment; "//" at the start is
// left to net/http, where it might name an authority.
func ordinaryTarget(target []byte) bool {
	for _, c := range target {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return len(target) > 0 && !bytes.HasPrefix(target, []byte("//"))
}

// parseHeader reads one header line. Lines that do not matter here still have to
// be well-formed, as net/http would insist.
func (r *Request) parseHeader(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return false
	}
	name, value := line[:colon], trim(line[colon+1:])
	for _, c := range name {
		if !tokenByte[c] {
			return false
		}
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	field, ordinary := r.field(name)
	if !ordinary {
		return false
	}
	if field == nil {
		return true
	}
	if *field != nil {
		return false
	}
	*field = value
	return true
}

// field finds where a header's value goes: nowhere for those without meaning
// here. Those that change how the request is framed are not ordinary.
func (r *Request) field(name []byte) (field *[]byte, ordinary bool) {
	switch len(name) {
	case 4:
		if fold(name, "host") {
			return &r.Host, true
		}
	case 5:
		if fold(name, "range") {
			return &r.Range, true
		}
	case 6:
		if fold(name, "accept") {
			return &r.Accept, true
		}
		return nil, !fold(name, "expect")
	case 7:
		if fold(name, "referer") {
			return &r.Referer, true
		}
		return nil, !fold(name, "upgrade") && !fold(name, "trailer")
	case 8:
		switch {
		case fold(name, "if-range"):
			return &r.IfRange, true
		case fold(name, "if-match"):
			return &r.IfMatch, true
		}
	case 10:
		switch {
		case fold(name, "user-agent"):
			return &r.UserAgent, true
		case fold(name, "connection"):
			return &r.connection, true
		}
	default:
		return r.longField(name)
	}
	return nil, true
}

func (r *Request) longField(name []byte) (field *[]byte, ordinary bool) {
	switch {
	case fold(name, "if-none-match"):
		return &r.IfNoneMatch, true
	case fold(name, "if-modified-since"):
		return &r.IfModifiedSince, true
	case fold(name, "if-unmodified-since"):
		return &r.IfUnmodifiedSince, true
	}
	return nil, !fold(name, "content-length") && !fold(name, "transfer-encoding")
}

// finish checks the head as a whole and settles the connection's fate.
func (r *Request) finish() bool {
	if r.Host == nil && !r.HTTP10 {
		return false
	}
	for _, c := range r.Host {
		if !hostByte[c] {
			return false
		}
	}
	r.KeepAlive = !r.HTTP10
	switch {
	case r.connection == nil:
	case fold(r.connection, "close"):
		r.KeepAlive = false
	case fold(r.connection, "keep-alive"):
		r.KeepAlive = true
	default:
		return false
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// fold compares ASCII without case; s is lower case.
func fold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// tokenByte and hostByte are the bytes of a header name and those of a host that
// need no thought. They are never written.
var tokenByte, hostByte = tables()

func tables() (token, host [256]bool) {
	for c := range 256 {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		token[c] = alnum || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0
		host[c] = alnum || bytes.IndexByte([]byte("-.:[]_"), byte(c)) >= 0
	}
	return token, host
}
