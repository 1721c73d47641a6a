package main

import (
	"fmt"
	"net/url"
	"strconv"
)

// ports are those that an authority is asked by: names, the directory's, and the
// usual one, should the directory lead there.
func (*flags) ports(directory string) ([]uint16, error) {
	const dns, https = 53, 443
	out := []uint16{dns, https}
	u, err := url.Parse(directory)
	if err != nil {
		return nil, fmt.Errorf("acme.directory: %w", err)
	}
	if u.Port() == "" {
		return out, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("acme.directory: port: %w", err)
	}
	return append(out, uint16(port)), nil
}
