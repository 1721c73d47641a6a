package http

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// modTime is the modification time of every file in the tree.
var modTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// makeTree makes what is served. A tree that is complete already is used again.
func makeTree(dir string) error {
	done := dir + ".done"
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	for name, size := range map[string]int64{"4k.bin": 4 << 10, "64k.bin": 64 << 10, "1m.bin": 1 << 20, "256m.bin": 256 << 20} {
		if err := writeFile(filepath.Join(dir, name), size); err != nil {
			return err
		}
	}
	sparse := filepath.Join(dir, "4g.bin")
	if err := writeFile(sparse, 0); err != nil {
		return err
	}
	if err := os.Truncate(sparse, 4<<30); err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	if err := makeMany(dir); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}

// makeMany makes 100,000 small packages in a hundred folders, and a folder of
// 50,000 empty files.
func makeMany(dir string) error {
	for i := range 100 {
		sub := filepath.Join(dir, "many", fmt.Sprintf("%02d", i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return fmt.Errorf("make tree: %w", err)
		}
		for j := range 1000 {
			if err := writeFile(filepath.Join(sub, fmt.Sprintf("%05d.deb", j)), 2000+int64(j)); err != nil {
				return err
			}
		}
	}
	large := filepath.Join(dir, "large")
	if err := os.MkdirAll(large, 0o755); err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	for i := range 50000 {
		if err := writeFile(filepath.Join(large, fmt.Sprintf("package-name-%05d_1.2.3-4_amd64.deb", i)), 0); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(path string, size int64) error {
	const block = 1 << 20
	data := make([]byte, min(size, block))
	for i := range data {
		data[i] = byte(i * 31)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	defer f.Close()
	for size > 0 {
		n, err := f.Write(data[:min(size, block)])
		if err != nil {
			return fmt.Errorf("make tree: %w", err)
		}
		size -= int64(n)
	}
	if err := os.Chtimes(path, modTime, modTime); err != nil {
		return fmt.Errorf("make tree: %w", err)
	}
	return nil
}
