package accesslog

import (
	"net/netip"
	"strconv"
	"time"
)

// Record is one answered request. Its byte slices are only read.
type Record struct {
	Peer      netip.Addr
	Time      time.Time // when the request was read
	Duration  time.Duration
	Line      []byte // the request line
	Name      string // the cleaned name below the web root, empty for none
	Status    int
	Sent      int64 // body bytes that the kernel has taken
	Referer   []byte
	UserAgent []byte
	Project   string
	Release   string
	TLS       string // "1.3", empty for plain HTTP
}

// Append writes the record as one line: Combined Log Format, then project,
// release, TLS version, address family and seconds taken, "-" where empty.
func (r *Record) Append(b []byte, stamp []byte) []byte {
	peer := r.Peer.Unmap()
	b = peer.AppendTo(b)
	b = append(b, " - - "...)
	b = append(b, stamp...)
	b = append(b, ` "`...)
	b = appendEscaped(b, r.Line)
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, r.Sent, 10)
	b = append(b, ` "`...)
	b = appendField(b, r.Referer)
	b = append(b, `" "`...)
	b = appendField(b, r.UserAgent)
	b = append(b, `" `...)
	b = append(b, or(r.Project)...)
	b = append(b, ' ')
	b = append(b, or(r.Release)...)
	b = append(b, ' ')
	b = append(b, or(r.TLS)...)
	if peer.Is4() {
		b = append(b, " 4 "...)
	} else {
		b = append(b, " 6 "...)
	}
	b = appendSeconds(b, r.Duration)
	return append(b, '\n')
}

// Stamp formats a time as the log has it, brackets included.
func Stamp(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "[02/Jan/2006:15:04:05 -0700]")
}

func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// appendSeconds writes seconds with three decimals.
func appendSeconds(b []byte, d time.Duration) []byte {
	ms := d.Milliseconds()
	b = strconv.AppendInt(b, ms/1000, 10)
	ms %= 1000
	return append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
}

func appendField(b, field []byte) []byte {
	if len(field) == 0 {
		return append(b, '-')
	}
	return appendEscaped(b, field)
}

// appendEscaped keeps a client from writing lines or fields of its own.
func appendEscaped(b, s []byte) []byte {
	const digits = "0123456789ABCDEF"
	plain := 0
	for i, c := range s {
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[plain:i]...)
		b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		plain = i + 1
	}
	return append(b, s[plain:]...)
}
