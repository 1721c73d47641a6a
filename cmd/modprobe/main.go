// Command modprobe loads a kernel module when the kernel asks for one: it is
// what /proc/sys/kernel/modprobe names. See package kmod.
package main

import (
	"fmt"
	"os"

	"micromirror/packages/kmod"
)

func main() {
	if err := kmod.Modprobe(kmod.Config{}, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
