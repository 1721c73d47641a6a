//go:build !full

package clients

// versions is how many come out in the everyday test.
const versions = 3
