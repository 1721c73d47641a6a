package syslog

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// errForm means that a packet is not in the form of log/syslog.
var errForm = errors.New("not a syslog packet")

// ParseLocal reads a packet as Go's log/syslog sends it over the network:
//
//	<14>2026-11-22T00:00:00Z host tag[1]: text
//
// Host is the sender's own and dropped.
func ParseLocal(packet []byte) (Message, error) {
	priority, rest, ok := strings.Cut(string(packet), ">")
	n, err := strconv.ParseUint(strings.TrimPrefix(priority, "<"), 10, 8)
	if !ok || err != nil || priority == "" || priority[0] != '<' || n > 191 {
		return Message{}, errForm
	}
	fields := strings.SplitN(rest, " ", 4)
	if len(fields) != 4 {
		return Message{}, errForm
	}
	when, err := time.Parse(time.RFC3339, fields[0])
	if err != nil {
		return Message{}, errForm
	}
	tag, ok := strings.CutSuffix(fields[2], "]:")
	app, _, ok2 := strings.Cut(tag, "[")
	if !ok || !ok2 {
		return Message{}, errForm
	}
	return Message{
		Facility: Facility(n / 8), Severity: Severity(n % 8), Time: when,
		App: app, Text: strings.TrimRight(fields[3], "\n"),
	}, nil
}
