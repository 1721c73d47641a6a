package flist

import (
	"fmt"
	"strings"
)

// chunkBits is the size of an arena's chunk; a reference is a chunk's number
// and a position in it, so an arena holds 4 GiB at most.
const chunkBits = 18

// arena keeps many short strings without a header for each.
type arena struct {
	chunks []*strings.Builder
	size   int64
	limit  int64
}

// ref is where a string lies.
type ref struct {
	off uint32
	len uint16
}

// add keeps s, which is no longer than a path may be.
func (a *arena) add(s string) (ref, error) {
	if len(s) > maxPath || a.size+int64(len(s)) > a.limit || a.size > 1<<32-2<<chunkBits {
		return ref{}, fmt.Errorf("names of more than %d bytes: %w", a.limit, ErrLimit)
	}
	last := len(a.chunks) - 1
	if last < 0 || a.chunks[last].Len()+len(s) > 1<<chunkBits {
		b := new(strings.Builder)
		b.Grow(1 << chunkBits)
		a.chunks = append(a.chunks, b)
		last++
	}
	off := last<<chunkBits | a.chunks[last].Len()
	if len(s) == 0 {
		off = 0
	}
	a.chunks[last].WriteString(s)
	a.size += int64(len(s))
	return ref{uint32(off), uint16(len(s))}, nil
}

// get gives back a string without copying it.
func (a *arena) get(r ref) string {
	if r.len == 0 {
		return ""
	}
	pos := r.off & (1<<chunkBits - 1)
	return a.chunks[r.off>>chunkBits].String()[pos : pos+uint32(r.len)]
}
