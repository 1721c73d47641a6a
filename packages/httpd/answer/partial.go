package answer

import (
	"hash/fnv"
	"net/http"
	"strconv"

	"micromirror/packages/httpd/byterange"
	"micromirror/packages/httpd/cache"
)

// partial answers 206: one range as it is, several as multipart/byteranges.
func partial(item *cache.Item, ranges []byterange.Range) *Response {
	resp := &Response{Status: http.StatusPartialContent, Item: item}
	header := append(make([]byte, 0, 512), item.Validators...)
	contentType := item.Type
	if len(ranges) == 1 {
		r := ranges[0]
		resp.Body = []Segment{{Off: r.Start, Length: r.Length}}
		header = append(header, "Content-Range: "+r.ContentRange(item.Length)+"\r\n"...)
	} else {
		boundary := boundaryOf(item, ranges)
		resp.Body = parts(ranges, item.Length, contentType, boundary)
		contentType = "multipart/byteranges; boundary=" + boundary
	}
	for _, s := range resp.Body {
		resp.Length += s.Length
	}
	resp.Header = appendLength(append(header, "Content-Type: "+contentType+"\r\n"...), resp.Length)
	return resp
}

// parts interleaves part headers with pieces of the file.
func parts(ranges []byterange.Range, size int64, contentType, boundary string) []Segment {
	body := make([]Segment, 0, 2*len(ranges)+1)
	text := func(s string) { body = append(body, Segment{Data: []byte(s), Length: int64(len(s))}) }
	for _, r := range ranges {
		text("\r\n--" + boundary + "\r\nContent-Type: " + contentType +
			"\r\nContent-Range: " + r.ContentRange(size) + "\r\n\r\n")
		body = append(body, Segment{Off: r.Start, Length: r.Length})
	}
	text("\r\n--" + boundary + "--\r\n")
	return body
}

// boundaryOf is the same for the same question, so that an answer is a function
// of request and file; that file content holds it by chance does no harm, as
// clients go by the parts' lengths.
func boundaryOf(item *cache.Item, ranges []byterange.Range) string {
	h := fnv.New64a()
	h.Write([]byte(item.Name))
	for _, r := range ranges {
		h.Write([]byte(r.ContentRange(item.Length)))
	}
	return "micromirror" + strconv.FormatUint(h.Sum64(), 16)
}
