package answer

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"micromirror/packages/httpd/cache"
	"micromirror/packages/httpd/listing"
	"micromirror/packages/httpd/tree"
)

// listing gets the listing of directory name. Listings are items as files are,
// with validators of their own; the plain one is cached under the directory's
// URL, the others under the query that asks for them.
func (s *Site) listing(r *Request, name string) (*cache.Item, error) {
	order, json, key := listingKey(r, name)
	if item := s.Cache.Get([]byte(key)); item != nil {
		return item, nil
	}
	return s.Cache.Fill(key, cache.Need{Name: name, Whole: true}, func() (*cache.Item, []cache.Need, error) {
		return s.render(name, order, json)
	})
}

// listingKey reads which listing is asked for and under what key it is kept.
func listingKey(r *Request, name string) (order listing.Order, json bool, key string) {
	order = listing.ParseOrder(r.Query)
	json = wantsJSON(r.Accept)
	key = name + "/"
	if json {
		key += "?json"
	} else if order != (listing.Order{Column: 'N'}) {
		key += "?C=" + string(order.Column) + strconv.FormatBool(order.Descending)
	}
	return order, json, key
}

// render reads and renders a directory.
func (s *Site) render(name string, order listing.Order, json bool) (*cache.Item, []cache.Need, error) {
	dir, err := s.Tree.Lookup(name)
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	if !dir.IsDir() {
		return nil, nil, tree.ErrNotExist
	}
	entries, err := s.Tree.ReadDir(dir, s.Cache.Known(name))
	if err != nil {
		return nil, nil, err
	}
	listing.Sort(entries, order)
	item := &cache.Item{Name: name, Type: htmlType, ModTime: listing.Latest(entries, dir.ModTime()), Entries: entries}
	if json {
		item.Type = "application/json"
		item.Body, err = listing.JSON(entries)
	} else {
		item.Body = listing.HTML(s.Page, name, s.about(name), entries, order)
	}
	if err != nil {
		return nil, nil, err
	}
	item.Length = int64(len(item.Body))
	item.ETag = `"` + strconv.FormatUint(xxh3.Hash(item.Body), 16) + `"`
	finish(item, revalidate+"\r\nVary: Accept")
	needs := needsOf(name, entries)
	slices.SortFunc(needs, func(a, b cache.Need) int { return strings.Compare(a.Name, b.Name) })
	return item, needs, nil
}

// about is the description above a project's own directory.
func (s *Site) about(name string) string {
	project := s.Status.Report().Of(name)
	if project == nil || project.Path != name {
		return ""
	}
	return s.Texts[project.Name].Description
}

// wantsJSON says whether JSON was asked for by name; "*/*" gets HTML.
func wantsJSON(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, _ := strings.Cut(part, ";")
		switch strings.TrimSpace(kind) {
		case "application/json":
			return true
		case "text/html":
			return false
		}
	}
	return false
}

// redirect adds the slash that a directory's URL ends in. The location is a
// path only: whatever name or scheme the client used stays.
func (s *Site) redirect(r *Request, name string) *Response {
	location := (&url.URL{Path: "/" + name + "/", RawQuery: r.Query}).String()
	resp := s.fail(http.StatusMovedPermanently)
	resp.Header = append(resp.Header, "Location: "+location+"\r\n"...)
	return resp
}
