// Package conditional decides what conditional requests get (RFC 9110, section 13).
//
// It promises the order of section 13.2.2: If-Match, If-Unmodified-Since,
// If-None-Match, If-Modified-Since, and If-Range for a Range. Entity tags made
// here are strong: modification time in seconds plus size. They leave out what
// differs between nodes (inode, nanoseconds that an upstream may cut), so that a
// download begun at one node of a fleet resumes at another. Dates that do not
// parse are ignored.
package conditional

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers are the request's conditional fields, empty where absent.
type Headers struct {
	IfMatch, IfUnmodifiedSince, IfNoneMatch, IfModifiedSince, IfRange string
}

// Validators describe the file that would be sent.
type Validators struct {
	ETag    string
	ModTime time.Time
}

// Outcome is what the request gets.
type Outcome int

// The outcomes: the file itself, 304 or 412.
const (
	Proceed Outcome = iota
	NotModified
	PreconditionFailed
)

// ETag makes a file's entity tag.
func ETag(modTime time.Time, size int64) string {
	return `"` + strconv.FormatInt(modTime.Unix(), 16) + "-" + strconv.FormatInt(size, 16) + `"`
}

// Evaluate applies the request's conditions to a GET or HEAD.
func Evaluate(h Headers, v Validators) Outcome {
	switch {
	case h.IfMatch != "":
		if !matches(h.IfMatch, v.ETag, false) {
			return PreconditionFailed
		}
	case h.IfUnmodifiedSince != "":
		if since, err := http.ParseTime(h.IfUnmodifiedSince); err == nil && v.seconds().After(since) {
			return PreconditionFailed
		}
	}
	switch {
	case h.IfNoneMatch != "":
		if matches(h.IfNoneMatch, v.ETag, true) {
			return NotModified
		}
	case h.IfModifiedSince != "":
		if since, err := http.ParseTime(h.IfModifiedSince); err == nil && !v.seconds().After(since) {
			return NotModified
		}
	}
	return Proceed
}

// RangeApplies says whether a Range header may be heeded under If-Range: it
// must name exactly this version of the file.
func RangeApplies(ifRange string, v Validators) bool {
	if ifRange == "" {
		return true
	}
	if strings.HasPrefix(ifRange, `"`) || strings.HasPrefix(ifRange, "W/") {
		return ifRange == v.ETag
	}
	date, err := http.ParseTime(ifRange)
	return err == nil && date.Equal(v.seconds())
}

func (v Validators) seconds() time.Time { return v.ModTime.Truncate(time.Second) }

// matches looks for etag in a list of entity tags. Commas may stand inside a
// tag, so the list is walked rather than split.
func matches(list, etag string, weak bool) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return false
		}
		if list[0] == '*' {
			return true
		}
		isWeak := strings.HasPrefix(list, "W/")
		opaque := strings.TrimPrefix(list, "W/")
		if !strings.HasPrefix(opaque, `"`) {
			return false
		}
		end := strings.IndexByte(opaque[1:], '"')
		if end < 0 {
			return false
		}
		if (weak || !isWeak) && opaque[:end+2] == etag {
			return true
		}
		list = opaque[end+2:]
	}
}
