//go:build vm && full

package scenario

import "micromirror/packages/demo"

// largeFile is the size in bytes of the demo upstream's large file.
const largeFile = demo.LargeSize
