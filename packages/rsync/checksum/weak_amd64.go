package checksum

import "golang.org/x/sys/cpu"

// sums32 gives both sums of data, whose length must be a multiple of 32.
//
//go:noescape
func sums32(data []byte) (s1, s2 uint32)

// wide gives both sums of the beginning of data, and how long that is.
func wide(data []byte) (s1, s2 uint32, n int) {
	if !cpu.X86.HasSSSE3 {
		return 0, 0, 0
	}
	n = len(data) &^ 31
	s1, s2 = sums32(data[:n])
	return s1, s2, n
}
