package conditional

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

var modTime = time.Date(2026, 11, 21, 10, 0, 0, 123, time.UTC)

const (
	same    = "Sat, 21 Nov 2026 10:00:00 GMT"
	earlier = "Sat, 21 Nov 2026 09:59:59 GMT"
	later   = "Sat, 21 Nov 2026 10:00:01 GMT"
)

func validators() Validators { return Validators{ETag: ETag(modTime, 5), ModTime: modTime} }

func TestEvaluate(t *testing.T) {
	etag := validators().ETag
	for _, test := range []struct {
		name string
		h    Headers
		want Outcome
	}{
		{"none", Headers{}, Proceed},
		{"tag equal", Headers{IfNoneMatch: etag}, NotModified},
		{"weak tag equal", Headers{IfNoneMatch: "W/" + etag}, NotModified},
		{"tag in a list", Headers{IfNoneMatch: `"a,b", ` + etag}, NotModified},
		{"any tag", Headers{IfNoneMatch: "*"}, NotModified},
		{"other tag beats date", Headers{IfNoneMatch: `"x"`, IfModifiedSince: same}, Proceed},
		{"tag without quotes", Headers{IfNoneMatch: "x"}, Proceed},
		{"date equal", Headers{IfModifiedSince: same}, NotModified},
		{"date later", Headers{IfModifiedSince: later}, NotModified},
		{"date earlier", Headers{IfModifiedSince: earlier}, Proceed},
		{"date broken", Headers{IfModifiedSince: "yesterday"}, Proceed},
		{"match", Headers{IfMatch: etag}, Proceed},
		{"match is strong", Headers{IfMatch: "W/" + etag}, PreconditionFailed},
		{"no match", Headers{IfMatch: `"x"`}, PreconditionFailed},
		{"unmodified", Headers{IfUnmodifiedSince: same}, Proceed},
		{"modified", Headers{IfUnmodifiedSince: earlier}, PreconditionFailed},
		{"match beats date", Headers{IfMatch: "*", IfUnmodifiedSince: earlier}, Proceed},
		{"matched, then not modified", Headers{IfMatch: etag, IfNoneMatch: etag}, NotModified},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Evaluate(test.h, validators()); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestRangeApplies(t *testing.T) {
	etag := validators().ETag
	for header, want := range map[string]bool{
		"": true, etag: true, same: true,
		"W/" + etag: false, `"x"`: false, later: false, earlier: false, "nonsense": false,
	} {
		if got := RangeApplies(header, validators()); got != want {
			t.Errorf("RangeApplies(%q) = %v, want %v", header, got, want)
		}
	}
}

// FuzzEvaluate holds the package against net/http's own rules.
func FuzzEvaluate(f *testing.F) {
	f.Add(`"x"`, same, `W/"y"`, later)
	f.Add("*", "", validators().ETag, earlier)
	f.Fuzz(func(t *testing.T, match, unmodified, none, modified string) {
		for _, s := range []string{match, unmodified, none, modified} {
			if strings.ContainsAny(s, "\r\n\x00") || s != strings.TrimSpace(s) {
				return
			}
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{"If-Match": {match}, "If-Unmodified-Since": {unmodified},
			"If-None-Match": {none}, "If-Modified-Since": {modified}}
		w := httptest.NewRecorder()
		w.Header().Set("ETag", validators().ETag)
		http.ServeContent(w, r, "x", modTime, strings.NewReader("12345"))
		h := Headers{IfMatch: match, IfUnmodifiedSince: unmodified, IfNoneMatch: none, IfModifiedSince: modified}
		want := map[int]Outcome{200: Proceed, 304: NotModified, 412: PreconditionFailed}[w.Code]
		if got := Evaluate(h, validators()); got != want {
			t.Errorf("%+v: got %v, net/http %v", h, got, w.Code)
		}
	})
}
