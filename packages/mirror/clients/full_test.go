//go:build full

package clients

// versions is how many come out in the long test.
const versions = 200
