package service

import (
	"context"
	"path/filepath"
	"strings"

	"micromirror/packages/control"
)

// TriggerSocket is the name of the socket in the run folder.
const TriggerSocket = "trigger"

// listen serves the trigger socket until the context ends.
func (s *Service) listen(ctx context.Context) error {
	l, err := control.Listen(ctx, filepath.Join(s.cfg.Run, TriggerSocket), control.KeepGroup)
	if err != nil {
		return err
	}
	return control.Serve(ctx, l, func(line string) error {
		name, option, _ := strings.Cut(line, " ")
		return s.Trigger(name, option == "allow-shrink")
	})
}
