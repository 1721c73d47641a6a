package httpd

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"micromirror/packages/httpd/accesslog"
	"micromirror/packages/httpd/ledger"
	"micromirror/packages/httpd/metrics"
	"micromirror/packages/httpd/status"
	"micromirror/packages/spool"
)

// Journal records what was served.
type Journal struct {
	log      *spool.Log
	status   *status.Watch
	served   *ledger.Ledger
	counters *metrics.Counters
	network  string // file with netd's state
}

// openJournal records into the access log.
func openJournal(dirs Dirs, watch *status.Watch, served *ledger.Ledger, log *slog.Logger) *Journal {
	l := spool.Open(spool.Config{Dir: dirs.Logs, Name: accesslog.Name, FileSize: accesslog.FileSize, Files: accesslog.Files, Log: log})
	return &Journal{log: l, status: watch, served: served, counters: metrics.New(),
		network: filepath.Join(dirs.Run, "netd", "state.json")}
}

// close writes what is not on disk yet.
func (j *Journal) close() error { return errors.Join(j.served.Save(), j.log.Close()) }

// append counts a request and adds its line to lines.
func (j *Journal) append(lines, stamp []byte, r *accesslog.Record) []byte {
	if p := j.status.Report().Of(r.Name); p != nil {
		r.Project = p.Name
		j.served.Add(p.Name, r.Sent)
		r.Release = release(strings.TrimPrefix(r.Name[len(p.Path):], "/"))
	}
	family := byte('6')
	if r.Peer.Unmap().Is4() {
		family = '4'
	}
	j.counters.Add(metrics.Key{Project: r.Project, Release: r.Release, Status: r.Status, Family: family}, r.Sent, r.Duration)
	return r.Append(lines, stamp)
}

// record notes a request that net/http took.
func (j *Journal) record(r *http.Request, name string, status int, sent int64, begun time.Time) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return // no client without an address
	}
	line := r.Method + " " + r.RequestURI + " " + r.Proto
	record := accesslog.Record{
		Peer: peer.Addr(), Time: begun, Duration: time.Since(begun), Line: []byte(line), Status: status, Sent: sent,
		Name: name, Referer: []byte(r.Referer()), UserAgent: []byte(r.UserAgent()),
	}
	if r.TLS != nil {
		record.TLS = tlsVersion(r.TLS.Version)
	}
	j.log.Write(j.append(nil, accesslog.Stamp(nil, begun), &record))
}

// refused notes what net/http has refused by itself.
func (j *Journal) refused(a *accounted, status int) {
	peer, err := netip.ParseAddrPort(a.RemoteAddr().String())
	if err != nil {
		return // no client without an address
	}
	record := accesslog.Record{
		Peer: peer.Addr(), Time: a.begun, Duration: time.Since(a.begun), Line: a.line(), Status: status,
	}
	j.log.Write(j.append(nil, accesslog.Stamp(nil, a.begun), &record))
}

// turnedAway counts a connection that was refused before it could ask. It is not
// in the log: a flood must not push out what others have done.
func (j *Journal) turnedAway(_ netip.Addr, status int) { j.counters.Refuse(status) }

func tlsVersion(v uint16) string {
	return "1." + string(rune('0'+(v&0xff)-1))
}

// release guesses the distribution's release from a path inside a project: the
// name after a folder that holds releases, or a first name that is a number.
func release(path string) string {
	first, rest, _ := strings.Cut(path, "/")
	if first != "" && first[0] >= '0' && first[0] <= '9' {
		return plain(first)
	}
	for rest != "" {
		switch first {
		case "dists", "releases", "updates", "development", "linux", "distribution":
			name, further, _ := strings.Cut(rest, "/")
			if first != "linux" && (further != "" || strings.HasSuffix(rest, "/")) {
				return plain(name)
			}
		}
		first, rest, _ = strings.Cut(rest, "/")
	}
	return ""
}

// plain is a field of the log if name can stand there as it is.
func plain(name string) string {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] >= 0x7f || name[i] == '"' {
			return ""
		}
	}
	return name
}
