package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"micromirror/packages/authority"
	"micromirror/packages/certificate"
)

// Ours makes below dir what our file server needs beside a tree, and returns the
// flags that say so.
func Ours(dir string) ([]string, error) {
	for _, sub := range []string{"node", "state", "run", "logs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("prepare server: %w", err)
		}
	}
	for name, content := range map[string]string{
		"fleet.json": `{"domain":"bench.example","contact":"bench@bench.example","upstream":"upstream.bench.example","ntp":[]}`,
		"node.json":  `{"name":"bench","hardware":"qemu","addresses":["dhcp"],"projects":[]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, "node", name), []byte(content), 0o644); err != nil {
			return nil, fmt.Errorf("prepare server: %w", err)
		}
	}
	return []string{"-node", dir + "/node", "-state", dir + "/state", "-run", dir + "/run", "-logs", dir + "/logs", "-sandbox=false"}, nil
}

// Certify makes a certificate in dir for servers on loopback to serve with.
func Certify(dir string) error {
	ca, err := authority.New()
	if err != nil {
		return err
	}
	data, err := ca.Issue(time.Now().Add(24*time.Hour), "127.0.0.1", "bench.example")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("certify: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, certificate.File), data, 0o600); err != nil {
		return fmt.Errorf("certify: %w", err)
	}
	return nil
}
