// Package certificate is the file by which the daemon that gets the node's
// certificate hands it to the one that serves with it, and the note that says how
// things are.
//
// The file is PEM: the private key, then the chain, leaf first, in one file so
// that they can never be of different certificates. It is replaced by rename. A
// Keeper follows it: a new certificate is in use within a second or so, for new
// connections; a file that cannot be read or does not fit together is reported and
// the last good certificate stays, also when it has expired, since a client that
// checks nothing is better served by it than by silence.
//
// The note is /run/acmed/status.json, see Status. Reading it never fails: what
// cannot be read says so in its reason.
package certificate

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// File is the name of the certificate in the directory that acmed owns.
const File = "certificate.pem"

// maxFile bounds what is read.
const maxFile = 256 << 10

// Encode makes the content of the file.
func Encode(key crypto.Signer, chain [][]byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode certificate: %w", err)
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return out, nil
}

// Parse reads the content of the file. The key fits the certificate, or it is an
// error.
func Parse(data []byte) (*tls.Certificate, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("parse certificate: more than %d bytes", maxFile)
	}
	cert, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w", err)
	}
	return &cert, nil
}

// Read reads the file.
func Read(file string) (*tls.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return Parse(data)
}

// Status is how the node's certificate is. Times are zero where there is none.
type Status struct {
	// State is off (the fleet names no authority), none, valid or expired.
	State string `json:"state"`
	// Reason says in one line why there is no valid certificate, or why it has
	// not been renewed; empty when all is well.
	Reason string   `json:"reason,omitempty"`
	Names  []string `json:"names,omitempty"`
	// Incomplete says which names are left out and why, empty if none.
	Incomplete string `json:"incomplete,omitempty"`
	// NotAfter is the end of the certificate, NextAttempt the earliest time at
	// which another one is asked for, LastAttempt the last time that happened.
	NotAfter    time.Time `json:"not_after,omitzero"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	NextAttempt time.Time `json:"next_attempt,omitzero"`
}

// States of a certificate.
const (
	Off     = "off"
	None    = "none"
	Valid   = "valid"
	Expired = "expired"
)

// ReadStatus reads the note. Without one the state is none.
func ReadStatus(file string) Status {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Status{State: None, Reason: "acmed has not said anything yet"}
	}
	if err != nil {
		return Status{State: None, Reason: OneLine(err.Error())}
	}
	var s Status
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&s); err != nil || s.State == "" {
		return Status{State: None, Reason: "acmed's status file is damaged"}
	}
	s.Reason, s.Incomplete = OneLine(s.Reason), OneLine(s.Incomplete)
	return s
}

// Words says in one line what a person should know, empty when all is well.
func (s Status) Words(now time.Time) string {
	if s.State == Valid && now.After(s.NotAfter) {
		s.State = Expired
	}
	why := s.Reason
	switch s.State {
	case Off:
		return ""
	case Expired:
		return strings.TrimSuffix("certificate expired "+s.NotAfter.UTC().Format(time.DateTime)+": "+why, ": ")
	case None:
		return strings.TrimSuffix("no certificate: "+why, ": ")
	}
	if why != "" {
		return "certificate not renewed: " + why
	}
	if s.Incomplete != "" {
		return "certificate lacks " + s.Incomplete
	}
	return ""
}

// OneLine makes a text fit for a console: printable, one line, not long.
func OneLine(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
