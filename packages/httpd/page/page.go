// Package page draws what every page of a node has in common: the head with
// sponsor and style, the foot with the contact, error pages and the front page.
//
// Pages are complete in one answer: no script, no second request for style or
// pictures, so that they work in every browser and cost the node one response.
// They follow the reader's light or dark setting and the screen's width.
package page

import (
	"html"
	"net/http"
	"strconv"
)

// Site is what the pages say about the node.
type Site struct {
	Name        string // the node's name
	Sponsor     string // who hosts it
	SponsorURL  string
	Contact     string // mail address or URL, empty where none is known
	Location    string // "Falkenstein, Germany"; empty where not told
	Description string // one line about the fleet, may be empty
}

// AppendHead begins a page.
func AppendHead(b []byte, site Site, title string) []byte { return appendHead(b, site, title, title) }

func appendHead(b []byte, site Site, title, heading string) []byte {
	b = append(b, "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>\n"+
		`<meta name=viewport content="width=device-width,initial-scale=1"><meta name=color-scheme content="light dark">`+
		"\n<title>"...)
	b = append(b, html.EscapeString(title)...)
	b = append(b, "</title>\n<style>"+style+"</style></head>\n<body><header><b><a href=\"/\">"...)
	b = append(b, html.EscapeString(site.Name)...)
	b = append(b, "</a></b>"...)
	b = appendSponsor(b, site)
	b = append(b, "</header>\n<main>\n<h1>"...)
	b = append(b, html.EscapeString(heading)...)
	return append(b, "</h1>\n"...)
}

func appendSponsor(b []byte, site Site) []byte {
	if site.Sponsor == "" {
		return b
	}
	b = append(b, "<span>hosted by "...)
	if site.SponsorURL == "" {
		b = append(b, html.EscapeString(site.Sponsor)...)
		return append(b, "</span>"...)
	}
	b = append(b, `<a href="`+html.EscapeString(site.SponsorURL)+`">`...)
	b = append(b, html.EscapeString(site.Sponsor)...)
	return append(b, "</a></span>"...)
}

// AppendFoot ends a page.
func AppendFoot(b []byte, site Site) []byte {
	b = append(b, "</main>\n<footer>"...)
	if site.Location != "" {
		b = append(b, "<span>"+html.EscapeString(site.Location)+"</span>"...)
	}
	if site.Contact != "" {
		b = append(b, "<span>Contact: "+contactLink(site.Contact)+"</span>"...)
	}
	b = append(b, `<span><a href="/status.json">status.json</a></span>`...)
	return append(b, "</footer></body></html>\n"...)
}

// Error makes the page for a status that has no file to show.
func Error(site Site, status int) []byte {
	title := strconv.Itoa(status) + " " + http.StatusText(status)
	b := AppendHead(make([]byte, 0, 4<<10), site, title)
	b = append(b, "<p>"+explain(status)+"</p>\n<p><a href=\"/\">What this mirror holds</a></p>\n"...)
	return AppendFoot(b, site)
}

func explain(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "The request could not be understood."
	case http.StatusForbidden:
		return "This is not public (yet)."
	case http.StatusNotFound:
		return "There is no such file here. It may have been removed upstream, or this mirror may not have it yet."
	case http.StatusMethodNotAllowed:
		return "This server only gives files: GET, HEAD and OPTIONS."
	case http.StatusTooManyRequests:
		return "Too many requests from your network. Please slow down and try again."
	case http.StatusServiceUnavailable:
		return "This cannot be served just now. Please try again in a little while."
	}
	return html.EscapeString(http.StatusText(status))
}
