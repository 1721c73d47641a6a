package wire

import "bytes"

// Decode splits a target into its percent-decoded path and its raw query. It is
// not ok where net/http would refuse the escapes.
func Decode(target []byte) (path, query string, ok bool) {
	raw, q, _ := bytes.Cut(target, []byte("?"))
	if bytes.IndexByte(raw, '%') < 0 {
		return string(raw), string(q), true
	}
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) {
				return "", "", false
			}
			hi, ok1 := unhex(raw[i+1])
			lo, ok2 := unhex(raw[i+2])
			if !ok1 || !ok2 {
				return "", "", false
			}
			c = hi<<4 | lo
			i += 2
		}
		out = append(out, c)
	}
	return string(out), string(q), true
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
