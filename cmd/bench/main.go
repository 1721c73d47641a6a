// Command bench measures parts of the node against their peers:
//
//	go run ./cmd/bench http
//	go run ./cmd/bench https
//
// The figures are printed and, unless only one work is measured, written to
// build/bench/<name>.json. A measurement that was interrupted goes on where it was.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"micromirror/packages/bench"
	"micromirror/packages/bench/http"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds of each work")
	seconds := flag.Int("seconds", 3, "length of one run")
	only := flag.String("only", "", "the one work to measure, without writing the file")
	scratch := flag.String("scratch", filepath.Join("build", "bench", "scratch"), "directory for the tree and the servers' files")
	flag.Parse()
	name := flag.Arg(0)
	if name != "http" && name != "https" {
		fmt.Fprintln(os.Stderr, "usage: bench [flags] http|https")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, name, filepath.Join(*scratch, name), *rounds, *seconds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name, scratch string, rounds, seconds int, only string) error {
	scratch, err := filepath.Abs(scratch)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return err
	}
	server := filepath.Join(scratch, "httpd")
	build := exec.CommandContext(ctx, "go", "build", "-o", server, "./cmd/httpd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v2")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build server: %w", err)
	}
	rows, err := http.Run(ctx, http.Config{
		Server: server, Scratch: scratch, Rounds: rounds, Seconds: seconds, Only: only, Out: os.Stdout, Secure: name == "https",
	})
	if err != nil {
		return err
	}
	fmt.Println()
	if err := bench.Print(os.Stdout, "nginx", rows); err != nil {
		return err
	}
	if only != "" { // the figures of all rows stay together
		return nil
	}
	return bench.Write(filepath.Join("build", "bench"), name, rows)
}
