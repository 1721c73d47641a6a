package manage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"micromirror/packages/layout"
)

const (
	ringPattern  = layout.StateDir + "/logd/node.log*"
	defaultLines = 200
)

// ring lists the files of the node's log, the oldest first.
func (b Box) ring() ([]string, error) {
	files, err := filepath.Glob(b.Root + ringPattern)
	if err != nil {
		return nil, err
	}
	age := func(file string) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Ext(file), ".")) // "log" is the newest
		return n
	}
	slices.SortFunc(files, func(x, y string) int { return age(y) - age(x) })
	return files, nil
}

// logs answers the newest lines of the node's log. It counts first, so that it
// needs no memory for them.
func (b Box) logs(ctx context.Context, args []string, w io.Writer) error {
	want := defaultLines
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil || n < 1 || len(args) > 1 {
			return errors.New("write: logs, or logs LINES")
		}
		want = n
	}
	files, err := b.ring()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("the node has no log yet")
	}
	count := 0
	if err := eachLine(ctx, files, func([]byte) error { count++; return nil }); err != nil {
		return err
	}
	skip := count - want
	return eachLine(ctx, files, func(line []byte) error {
		if skip--; skip >= 0 {
			return nil
		}
		_, err := w.Write(line)
		return err
	})
}

// eachLine reads the files; a line that is too long comes in parts.
func eachLine(ctx context.Context, files []string, use func(line []byte) error) error {
	for _, name := range files {
		if err := linesOf(ctx, name, use); err != nil && !errors.Is(err, os.ErrNotExist) { // rotated away meanwhile
			return fmt.Errorf("read the log: %w", err)
		}
	}
	return nil
}

func linesOf(ctx context.Context, name string, use func(line []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for ctx.Err() == nil {
		line, err := r.ReadSlice('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if err := use(line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
	return ctx.Err()
}
