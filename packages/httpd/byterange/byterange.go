// Package byterange parses the Range request header (RFC 9110, section 14).
//
// It promises that what it returns lies inside the file and that the work a
// header can cause is bounded: a header with more than MaxRanges ranges, or whose
// ranges together ask for more than the file holds, is ignored, which RFC 9110
// allows and which makes the answer an ordinary 200.
package byterange

import (
	"errors"
	"strconv"
	"strings"
)

// MaxRanges bounds the parts of one answer. Real clients ask for a handful.
const MaxRanges = 100

// ErrUnsatisfiable means that the header is well-formed and no range of it
// overlaps the file: the answer is 416.
var ErrUnsatisfiable = errors.New("no range overlaps the file")

// Range is a part of a file: Length bytes from Start.
type Range struct{ Start, Length int64 }

// ContentRange formats the Content-Range value of a part.
func (r Range) ContentRange(size int64) string {
	return "bytes " + strconv.FormatInt(r.Start, 10) + "-" + strconv.FormatInt(r.Start+r.Length-1, 10) +
		"/" + strconv.FormatInt(size, 10)
}

// Parse returns the satisfiable ranges of header for a file of size bytes. No
// ranges and no error means that the header is to be ignored: it is empty, has
// another unit, is malformed or asks for too much.
func Parse(header string, size int64) ([]Range, error) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return nil, nil
	}
	var ranges []Range
	var total int64
	specs := 0
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue
		}
		if specs++; specs > MaxRanges {
			return nil, nil
		}
		r, overlaps, ok := parseSpec(spec, size)
		if !ok {
			return nil, nil
		}
		if overlaps {
			ranges = append(ranges, r)
			total += r.Length
		}
		if total > size {
			return nil, nil
		}
	}
	if specs > 0 && len(ranges) == 0 {
		return nil, ErrUnsatisfiable
	}
	return ranges, nil
}

// parseSpec reads one of "first-last", "first-" and "-suffix".
func parseSpec(spec string, size int64) (r Range, overlaps, ok bool) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return Range{}, false, false
	}
	if first == "" {
		n, ok := parseNumber(last)
		n = min(n, size)
		return Range{size - n, n}, n > 0, ok
	}
	start, ok := parseNumber(first)
	if !ok {
		return Range{}, false, false
	}
	end := size - 1
	if last != "" {
		n, ok := parseNumber(last)
		if !ok || n < start {
			return Range{}, false, false
		}
		end = min(n, end)
	}
	if start >= size {
		return Range{}, false, true
	}
	return Range{start, end - start + 1}, true, true
}

// parseNumber reads decimal digits only; a number too large for any file counts
// as the largest one.
func parseNumber(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
