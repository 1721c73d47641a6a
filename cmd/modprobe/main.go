// Command modprobe loads a kernel module when the kernel asks for one: it is
// what /proc/sys/kernel/modprobe names. Started as a service, "modprobe
// coldplug", it loads the drivers that nothing waits for, and is done. See
// package kmod.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"micromirror/packages/daemon"
	"micromirror/packages/hardware"
	"micromirror/packages/kmod"
	"micromirror/packages/layout"
)

func main() {
	run := func() error { return kmod.Modprobe(kmod.Config{}, os.Args[1:]) }
	if slices.Equal(os.Args[1:], []string{"coldplug"}) {
		run = coldplug
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// coldplug ends without an error in any case: init would start it again.
func coldplug() error {
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer kmsg.Close()
	log := daemon.NewLog("modprobe", os.Stderr, kmsg)
	models, err := hardware.Load(os.DirFS(layout.HardwareDir))
	if err != nil {
		log.Warn("hardware models", "err", err)
	}
	var loaded []string
	late := kmod.Late{Names: hardware.Late(models), Healthy: layout.HealthFile, Patience: time.Minute}
	err = late.Load(context.Background(), kmod.Config{Loaded: func(name string) { loaded = append(loaded, name) }})
	if err != nil {
		log.Warn("late drivers", "err", err)
	}
	daemon.Notice(log, "loaded late: "+strings.Join(loaded, " "))
	return nil
}
