// Package syslog speaks the syslog protocol: messages as RFC 5424 writes them, to
// a collector over TLS as RFC 5425 transports them, and from programs of this
// machine in the older form that Go's log/syslog sends.
//
// Promise: a Message is one line, whatever its text contains, and at most
// MaxMessage long. Sender.Send returns nil only when the collector's machine has
// confirmed every byte: the protocol knows no other receipt. Who sends again what
// was not confirmed loses nothing with the connection; the collector may then see
// messages twice.
//
// The collector must prove its name by a certificate. Nothing here listens but
// what ParseLocal's caller opens; nothing is written to disk.
package syslog

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Severity is how bad it is.
type Severity int

// Severities of RFC 5424.
const (
	Emergency Severity = iota
	Alert
	Critical
	Error
	Warning
	Notice
	Info
	Debug
)

// Facility is what kind of program speaks.
type Facility int

// Facilities of RFC 5424.
const (
	Kernel Facility = 0
	Daemon Facility = 3
	Local0 Facility = 16
)

// MaxMessage is what every collector takes (RFC 5425 asks for 2048 and wants 8192).
const MaxMessage = 8192

// Message is one syslog message.
type Message struct {
	Facility Facility
	Severity Severity
	Time     time.Time // zero: not known
	Host     string
	App      string
	ID       string // the kind of message
	Text     string
}

// Append writes the message as RFC 5424 has it. Control characters are escaped, so
// that it is one line; what is too long is cut.
func (m *Message) Append(b []byte) []byte {
	begin := len(b)
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(m.Facility)*8+int64(m.Severity), 10)
	b = append(b, ">1 "...)
	if m.Time.IsZero() {
		b = append(b, '-')
	} else {
		b = m.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	}
	b = appendName(append(b, ' '), m.Host, 255)
	b = appendName(append(b, ' '), m.App, 48)
	b = append(b, " -"...) // no process ID
	b = appendName(append(b, ' '), m.ID, 32)
	b = append(b, " - "...) // no structured data
	return appendText(b, m.Text, begin+MaxMessage)
}

// appendName writes a header field: printable ASCII without spaces, "-" for none.
func appendName(b []byte, s string, most int) []byte {
	if s == "" {
		return append(b, '-')
	}
	for i := range min(len(s), most) {
		c := s[i]
		if c <= ' ' || c >= 0x7f {
			c = '_'
		}
		b = append(b, c)
	}
	return b
}

// appendText writes text up to a length of b.
func appendText(b []byte, text string, most int) []byte {
	const digits = "0123456789ABCDEF"
	for _, r := range text {
		if len(b)+utf8.UTFMax > most {
			break
		}
		if r < ' ' || r == 0x7f {
			b = append(b, '\\', 'x', digits[r>>4], digits[r&15])
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// AppendFrame writes a message as it travels over TLS: its length in front.
func AppendFrame(b, message []byte) []byte {
	b = strconv.AppendInt(b, int64(len(message)), 10)
	b = append(b, ' ')
	return append(b, message...)
}
