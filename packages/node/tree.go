package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// value is a JSON value that remembers its line.
type value struct {
	line int
	// v is nil, bool, string, json.Number, []value or []member.
	v any
}

type member struct {
	key   string
	line  int
	value value
}

const (
	maxFile  = 1 << 20
	maxDepth = 32
)

// kind names the JSON type for messages.
func (v value) kind() string {
	switch v.v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case []value:
		return "a list"
	default:
		return "an object"
	}
}

// text is the value as written, for messages.
func (v value) text() string {
	switch t := v.v.(type) {
	case []value, []member:
		return ""
	case nil:
		return "null"
	default:
		return show(t)
	}
}

// parser turns a file into a tree.
type parser struct {
	data []byte
	dec  *json.Decoder
	line int // at offset at
	at   int64
}

// parse reads exactly one JSON value. The error carries its line.
func parse(data []byte) (value, int, error) {
	if len(data) > maxFile {
		return value{}, 0, fmt.Errorf("is larger than %d bytes", maxFile)
	}
	p := &parser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	p.dec.UseNumber()
	v, err := p.value(0)
	if err == nil {
		if _, more := p.dec.Token(); more != io.EOF {
			err = errors.New("has something after the closing brace")
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("ends too early")
	}
	if err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			p.seek(syntax.Offset)
		}
		return value{}, p.line, err
	}
	return v, 0, nil
}

// seek moves the line counter forward to offset.
func (p *parser) seek(offset int64) {
	offset = min(offset, int64(len(p.data)))
	if offset > p.at {
		p.line += bytes.Count(p.data[p.at:offset], []byte("\n"))
		p.at = offset
	}
}

func (p *parser) token() (json.Token, error) {
	t, err := p.dec.Token()
	p.seek(p.dec.InputOffset())
	return t, err
}

func (p *parser) value(depth int) (value, error) {
	if depth > maxDepth {
		return value{}, fmt.Errorf("is nested deeper than %d", maxDepth)
	}
	t, err := p.token()
	if err != nil {
		return value{}, err
	}
	v := value{line: p.line, v: t}
	switch t {
	case json.Delim('['):
		v.v, err = p.list(depth)
	case json.Delim('{'):
		v.v, err = p.object(depth)
	}
	return v, err
}

func (p *parser) list(depth int) ([]value, error) {
	out := []value{}
	for p.dec.More() {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	_, err := p.token()
	return out, err
}

func (p *parser) object(depth int) ([]member, error) {
	out := []member{}
	for p.dec.More() {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		m := member{key: key, line: p.line}
		if m.value, err = p.value(depth + 1); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	_, err := p.token()
	return out, err
}
