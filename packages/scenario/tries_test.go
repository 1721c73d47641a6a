//go:build vm && !full

package scenario

const (
	badSlotTries = 1
	largeFile    = 64 << 20 // bytes of the large file in the demo upstream
)
