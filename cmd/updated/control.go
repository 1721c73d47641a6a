package main

import (
	"context"
	"fmt"
	"path/filepath"

	"micromirror/packages/control"
	"micromirror/packages/daemon"
	"micromirror/packages/layout"
	"micromirror/packages/manage"
)

// control reboots the node when a maintainer asks for it. Without the socket the
// rest goes on.
func (f *flags) control(ctx context.Context, n *box) error {
	path := filepath.Join(layout.RunDir, "updated", control.Socket)
	l, err := control.Listen(ctx, path, layout.ManageD)
	if err != nil {
		n.log.Error("maintainers cannot reboot the node", "err", err)
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return control.Serve(ctx, l, func(line string) error {
		if line != manage.CommandReboot {
			return fmt.Errorf("%q is not known here", line)
		}
		daemon.Notice(n.log, "rebooting, as a maintainer asked")
		go func() {
			if err := f.reboot(n.log)(ctx); err != nil && ctx.Err() == nil {
				n.log.Error("reboot", "err", err)
			}
		}()
		return nil
	})
}
