package client

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"micromirror/packages/rsync/wire"
)

// maxMessages bounds how many of the server's texts are kept.
const maxMessages = 200

// messages is what the server has said beside the data.
type messages struct {
	texts   []string // errors and warnings
	last    string   // the latest of them, which explains a NoSend
	ioError int32
	noSend  func(ndx int32, reason string) error
}

// RemoteError is an end that the server announced.
type RemoteError struct {
	Code int32  // rsync's exit code
	Text string // the last error it reported
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("server gave up with exit code %d: %s", e.Code, e.Text)
}

// message takes one message from the multiplexed stream.
func (c *Conn) message(tag wire.Tag, p []byte) error {
	m := &c.messages
	switch tag {
	case wire.ErrorXfer, wire.Error, wire.ErrorSock, wire.ErrorUTF8, wire.Warning, wire.Info, wire.Log:
		c.said(tag, printable(string(p)))
	case wire.IOError:
		v, err := number(tag, p)
		m.ioError |= v & wire.IOErrMask
		return err
	case wire.IOTimeout:
		v, err := number(tag, p)
		if v > 0 && v <= 86400 {
			c.setInterval(time.Duration(v) * time.Second / 3)
		}
		return err
	case wire.NoSend:
		v, err := number(tag, p)
		if err != nil || m.noSend == nil {
			return err
		}
		return m.noSend(v, m.last)
	case wire.ErrorExit:
		code := int32(0)
		if len(p) >= 4 {
			code = int32(binary.LittleEndian.Uint32(p))
		}
		return &RemoteError{code, m.last}
	case wire.Noop, wire.Stats, wire.Success, wire.Deleted:
	default:
		return fmt.Errorf("message of unknown kind %d: %w", tag, ErrProtocol)
	}
	return nil
}

// said takes a text. Before protocol 30 warnings come as information.
func (c *Conn) said(tag wire.Tag, text string) {
	if (tag == wire.Info || tag == wire.Log) && !strings.HasPrefix(text, vanishedPrefix) {
		c.log.Debug("server says", "text", text)
		return
	}
	if c.messages.text(text) {
		c.log.Warn("server says", "text", text)
	}
}

// text keeps a text, and tells whether there was still room for it.
func (m *messages) text(text string) bool {
	m.last = text
	if len(m.texts) == maxMessages {
		return false
	}
	m.texts = append(m.texts, text)
	return true
}

// vanishedPrefix is how rsync reports a file that was there for the list only.
const vanishedPrefix = "file has vanished: "

// about finds what was said of a file. The server quotes its name with the path
// of the transfer in front.
func (m *messages) about(name string) string {
	for _, text := range m.texts {
		if strings.Contains(text, name+`"`) {
			return text
		}
	}
	return "no reason given"
}

func number(tag wire.Tag, p []byte) (int32, error) {
	if len(p) != 4 {
		return 0, fmt.Errorf("message of kind %d with %d bytes: %w", tag, len(p), ErrProtocol)
	}
	return int32(binary.LittleEndian.Uint32(p)), nil
}

// setInterval follows a server that wants signs of life more often.
func (c *Conn) setInterval(d time.Duration) {
	c.interval.Store(int64(min(time.Duration(c.interval.Load()), max(d, time.Second))))
}

// explain adds the server's last words to an error that ended a connection.
func (c *Conn) explain(err error) error {
	if err == nil || c.messages.last == "" || strings.Contains(err.Error(), c.messages.last) {
		return err
	}
	return fmt.Errorf("%w (server said: %s)", err, c.messages.last)
}
