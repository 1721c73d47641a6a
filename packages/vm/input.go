package vm

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
)

// Screenshot writes what the machine's screen shows as PNG.
func (m *Machine) Screenshot(ctx context.Context, path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("screenshot: %w", err)
	}
	return m.QMP(ctx, "screendump", map[string]string{"filename": abs, "format": "png"}, nil)
}

// SendKeys presses keys one after the other. Names are QEMU's: "a", "ret", "esc",
// "f1", "spc", "ctrl", …; a combination is written "ctrl-alt-delete".
func (m *Machine) SendKeys(ctx context.Context, keys ...string) error {
	for _, k := range keys {
		if err := m.QMP(ctx, "human-monitor-command", map[string]string{"command-line": "sendkey " + k}, nil); err != nil {
			return fmt.Errorf("send key %q: %w", k, err)
		}
	}
	return nil
}

func compile(re string) (*regexp.Regexp, error) {
	compiled, err := regexp.Compile(re)
	if err != nil {
		return nil, fmt.Errorf("wait for the console: %w", err)
	}
	return compiled, nil
}
