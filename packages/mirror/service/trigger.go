package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// TriggerSocket is the name of the socket in the run folder.
const TriggerSocket = "trigger"

// listen serves the trigger socket until the context ends.
func (s *Service) listen(ctx context.Context) error {
	path := filepath.Join(s.cfg.Run, TriggerSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listen for triggers: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listen for triggers: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return fmt.Errorf("listen for triggers: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("listen for triggers: %w", err)
		}
		s.answer(c)
	}
}

// answer serves one connection; the peers are few, local and brief.
func (s *Service) answer(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		name, option, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		err := s.Trigger(name, option == "allow-shrink")
		if err != nil {
			fmt.Fprintln(c, err)
		} else {
			fmt.Fprintln(c, "ok")
		}
	}
}
