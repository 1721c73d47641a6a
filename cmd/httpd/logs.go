package main

import (
	"log/slog"
	"os"

	"micromirror/packages/layout"
	"micromirror/packages/sandbox"
)

// prepareLogs sees to it that the access log can be written: in memory when the
// disk has turned read-only, because what can be read can still be served.
func (f *flags) prepareLogs(log *slog.Logger) error {
	err := writable(f.logs)
	if err == nil {
		return nil
	}
	log.Error("the access log goes to memory", "err", err)
	f.logs = layout.RunDir + "/httpd"
	return writable(f.logs)
}

func writable(dir string) error {
	if err := sandbox.Own(dir, layout.HTTPD, layout.HTTPD, 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writable*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}
