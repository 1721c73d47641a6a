package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"micromirror/packages/bench/ktls"
)

// inGuest is the argument that the virtual machine gives to this program, its first
// process.
const inGuest = "ktls-guest"

// kernelTLS measures with our server and this very program in a virtual machine.
func kernelTLS(ctx context.Context, scratch string, rounds int) error {
	programs, err := build(ctx, scratch, "httpd", "bench")
	if err != nil {
		return err
	}
	rows, err := ktls.Run(ctx, ktls.Config{
		Kernel: filepath.Join("packages", "kernel"), Server: programs[0], Guest: programs[1], Name: inGuest,
		Scratch: filepath.Dir(programs[0]), Rounds: rounds, Out: os.Stdout,
	})
	if err != nil {
		return err
	}
	return report("ktls", "server", rows, true)
}

// build makes static programs in scratch, for any processor that the image runs on.
func build(ctx context.Context, scratch string, names ...string) (programs []string, err error) {
	if scratch, err = filepath.Abs(scratch); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return nil, err
	}
	for _, name := range names {
		out := filepath.Join(scratch, name)
		cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", out, "./cmd/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v2")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("build %s: %w", name, err)
		}
		programs = append(programs, out)
	}
	return programs, nil
}
