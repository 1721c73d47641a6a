package sync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"micromirror/packages/bench"
)

// Measure runs what is asked for, going on where an earlier run of the same
// program was interrupted, and writes a table to w and, as it grows, to a file
// in dir. Once all has been measured the next run starts anew.
func Measure(ctx context.Context, o Options, program, dir string, w io.Writer) error {
	name := "sync"
	if o.Scale != 1 {
		name = fmt.Sprintf("sync-%g", o.Scale)
	}
	print, err := bench.Fingerprint(program)
	if err != nil {
		return err
	}
	settings := fmt.Sprintf("program %s, scale %g, %d rounds", print, o.Scale, o.Rounds)
	progress, err := bench.Resume[Row](filepath.Join(dir, name+".progress.json"), settings)
	if err != nil {
		return err
	}
	o.Measured = progress.Rows
	o.Keep = func(r Row) error {
		return errors.Join(progress.Add(r), bench.Write(dir, name, Table(progress.Rows, o.Scale)))
	}
	if err := Run(ctx, o); err != nil {
		return err
	}
	if len(progress.Rows) == 2*len(scenarios())+len(whole())+2 {
		if err := progress.Done(); err != nil {
			return err
		}
	}
	return bench.Print(w, "rsync", Table(progress.Rows, o.Scale))
}
