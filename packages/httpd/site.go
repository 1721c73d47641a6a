package httpd

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"micromirror/packages/certificate"
	"micromirror/packages/httpd/answer"
	"micromirror/packages/httpd/cache"
	"micromirror/packages/httpd/ledger"
	"micromirror/packages/httpd/page"
	"micromirror/packages/httpd/status"
	"micromirror/packages/httpd/tree"
	"micromirror/packages/layout"
	"micromirror/packages/node"
)

// Dirs are the directories that a site reads.
type Dirs struct {
	Root  string // the served tree
	State string // durable project state, syncd's
	Run   string // volatile files: syncd/*.progress.json, health.json
	Logs  string // the access log and the ledger, written
}

// limits bound the cache to what a node of 2 GiB can spare. Each item is an open
// file, each directory about a kilobyte of kernel memory.
var limits = cache.Limits{Items: 8192, Bytes: 64 << 20, Dirs: 4096}

// ledgerInterval is how much of the count of bytes a power cut may cost.
const ledgerInterval = 5 * time.Minute

// NewSite makes the site of a configured node and the journal of what it serves.
// It keeps the projects' state up to date until ctx ends.
func NewSite(ctx context.Context, c *node.Config, dirs Dirs, log *slog.Logger) (*answer.Site, *Journal, error) {
	root, err := tree.Open(dirs.Root)
	if err != nil {
		return nil, nil, err
	}
	kept, err := cache.New(root, dirs.Root, limits)
	if err != nil {
		return nil, nil, err
	}
	served, err := ledger.Open(filepath.Join(dirs.Logs, "ledger.json"), time.Now)
	if err != nil {
		log.Error("counting the bytes served anew", "err", err)
	}
	reader := &status.Reader{
		Served: served.Day,
		Node:   c.Hostname(),
		Certificate: func() certificate.Status {
			return certificate.ReadStatus(filepath.Join(dirs.Run, "acmed", "status.json"))
		},
		StateDir: dirs.State, ProgressDir: filepath.Join(dirs.Run, "syncd"), Now: time.Now,
	}
	texts := map[string]page.Text{}
	for _, p := range c.Projects() {
		reader.Hosted = append(reader.Hosted, status.Hosted{
			Name: p.Name, Title: p.Title, Path: p.Path, MaxAge: time.Duration(p.Freshness.MaxAge) * time.Hour,
		})
		t := page.Text{Description: p.Description, Module: p.Module.Name, ModulePath: below(p.Path, p.Module.Path)}
		for _, client := range p.Clients {
			t.Clients = append(t.Clients, page.Client(client))
		}
		texts[p.Name] = t
	}
	go served.Run(ctx, ledgerInterval, log)
	watch := status.NewWatch(reader, log)
	go watch.Run(ctx, time.Second, log)
	site := &answer.Site{
		Tree: root, Cache: kept, Page: pageSite(c), Texts: texts, Status: watch,
		Challenge: challenges(filepath.Join(dirs.Run, "acmed", "challenge")),
		Health:    HealthFile(filepath.Join(dirs.Run, "health.json"), filepath.Join(dirs.Run, "managed", layout.Drained), time.Now),
	}
	return site, openJournal(dirs, watch, served, log), nil
}

// below is where path is inside a directory, empty for the directory itself.
func below(path, dir string) string {
	rest, _ := strings.CutPrefix(path, dir)
	return strings.Trim(rest, "/")
}

func pageSite(c *node.Config) page.Site {
	l := c.Node.Location
	var place []string
	for _, s := range []string{l.City, l.StateProvince, l.Country} {
		if len(s) == 2 { // a code
			s = strings.ToUpper(s)
		}
		if s != "" {
			place = append(place, s)
		}
	}
	return page.Site{
		Name: c.Hostname(), Sponsor: c.Node.Sponsor.Name, SponsorURL: c.Node.Sponsor.URL,
		Contact: c.Fleet.Contact, Location: strings.Join(place, ", "),
	}
}
