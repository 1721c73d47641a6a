//go:build vm && !full

package scenario

// largeFile is the size in bytes of the demo upstream's large file.
const largeFile = 64 << 20
