// Command initrd is /init of the initramfs. See package earlyboot.
package main

import (
	"context"
	"fmt"
	"os"

	"micromirror/packages/earlyboot"
)

func main() {
	// Returns only if even rebooting failed; then the end of process 1 panics
	// the kernel, which reboots too.
	err := earlyboot.Run(context.Background())
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
