package plan

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"bufio"

	"micromirror/packages/durable"
)

// SaveGone writes a project's tombstones, in the form of a plan that holds
// nothing else: names may be any bytes.
func SaveGone(file, project string, gone map[string]time.Time) error {
	var b bytes.Buffer
	o := &output{w: bufio.NewWriter(&b)}
	o.line(fmt.Appendf(nil, "%s %q true\n", magic, project))
	for name, since := range gone {
		o.op(Op{Verb: Gone, Path: name, Sec: since.Unix()})
	}
	o.line(fmt.Appendf(nil, "end %d %08x\n", o.lines, o.sum))
	o.w.Flush()
	if err := durable.WriteFile(file, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("save tombstones: %w", err)
	}
	return nil
}

// LoadGone reads what SaveGone wrote. Without the file there are none; a
// damaged one costs nothing but a second grace period.
func LoadGone(file string) (map[string]time.Time, error) {
	gone := map[string]time.Time{}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return gone, nil
	}
	if err != nil {
		return gone, fmt.Errorf("load tombstones: %w", err)
	}
	defer f.Close()
	_, err = Read(f, func(op Op) error {
		if op.Verb != Gone {
			return fmt.Errorf("%w: %s among tombstones", ErrFormat, op.Verb)
		}
		gone[op.Path] = time.Unix(op.Sec, 0)
		return nil
	})
	if err != nil {
		return map[string]time.Time{}, fmt.Errorf("load tombstones: %w", err)
	}
	return gone, nil
}
