// Command bench measures parts of the node against their peers:
//
//	go run ./cmd/bench http
//	go run ./cmd/bench https
//	go run ./cmd/bench ktls
//
// The figures are printed and, unless only one work is measured, written to
// build/bench/<name>.json. A measurement that was interrupted goes on where it was,
// except for ktls, which compares TLS sealed by the kernel and by the server in a
// virtual machine (see package bench/ktls).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"micromirror/packages/bench"
	"micromirror/packages/bench/http"
	"micromirror/packages/bench/ktls"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds of each work")
	seconds := flag.Int("seconds", 3, "length of one run")
	only := flag.String("only", "", "the one work to measure, without writing the file")
	scratch := flag.String("scratch", filepath.Join("build", "bench", "scratch"), "directory for the tree and the servers' files")
	flag.Parse()
	name := flag.Arg(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch scratch := filepath.Join(*scratch, name); name {
	case "http", "https":
		err = run(ctx, name, scratch, *rounds, *seconds, *only)
	case "ktls":
		err = kernelTLS(ctx, scratch, *rounds)
	case inGuest:
		err = ktls.Guest(ctx, flag.Args()[1:])
	default:
		fmt.Fprintln(os.Stderr, "usage: bench [flags] http|https|ktls")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name, scratch string, rounds, seconds int, only string) error {
	programs, err := build(ctx, scratch, "httpd")
	if err != nil {
		return err
	}
	rows, err := http.Run(ctx, http.Config{
		Server: programs[0], Scratch: filepath.Dir(programs[0]), Rounds: rounds, Seconds: seconds, Only: only, Out: os.Stdout, Secure: name == "https",
	})
	if err != nil {
		return err
	}
	return report(name, "nginx", rows, only == "") // the figures of all rows stay together
}

// report prints the rows and may write them.
func report(name, peer string, rows []bench.Row, write bool) error {
	fmt.Println()
	if err := bench.Print(os.Stdout, peer, rows); err != nil || !write {
		return err
	}
	return bench.Write(filepath.Join("build", "bench"), name, rows)
}
