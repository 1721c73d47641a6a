package sync

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// scenario is data and what has to be there before each run.
type scenario struct {
	id, name string
	make     func(dir string, scale float64) error
	before   func(src, dst string) error // dst is empty when it is called
	again    func(dst string) error      // the same, where dst is as a run left it; nil: dst is made anew
	aside    bool                        // what a run left goes when all are done
}

func scenarios() []scenario {
	none := func(src, dst string) error { return nil }
	asItIs := func(dst string) error { return nil }
	return []scenario{
		{"a", "4 GiB in 8 files", makeLarge, none, nil, false},
		{"b", "50,000 files of 2 to 40 KiB", makeSmall, none, nil, true},
		{"c", "300,000 entries unchanged", makeMany, cloneTree, asItIs, false},
		{"d", "1 GiB with 1 % changed", makeChanged, oldVersion, nil, false},
		{"e", "20,000 hard links", makeLinks, none, nil, true},
	}
}

// makeOnce fills dir unless an earlier run has.
func makeOnce(dir string, scale float64, fill func(dir string, scale float64) error) error {
	mark := filepath.Join(filepath.Dir(dir), fmt.Sprintf("%s.made-%g", filepath.Base(dir), scale))
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := fill(dir, scale); err != nil {
		return err
	}
	return os.WriteFile(mark, nil, 0o600)
}

func makeLarge(dir string, scale float64) error {
	for i := range 8 {
		if err := random(filepath.Join(dir, fmt.Sprintf("large%d.iso", i)), uint64(i), int64(scale*(512<<20))); err != nil {
			return err
		}
	}
	return nil
}

// random writes a file of pseudo-random bytes.
func random(path string, seed uint64, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	buf := make([]byte, 1<<20)
	for size > 0 {
		n := min(size, int64(len(buf)))
		source.Read(buf[:n])
		if _, err := f.Write(buf[:n]); err != nil {
			return err
		}
		size -= n
	}
	return nil
}

func makeSmall(dir string, scale float64) error {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range int(scale * 50_000) {
		sub := filepath.Join(dir, fmt.Sprintf("pool/%02x/p%d", i%251%64, i/100))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		size := 2<<10 + rng.Int64N(38<<10)
		if err := random(filepath.Join(sub, fmt.Sprintf("package-name_%d.%d-1_amd64.deb", i, i%7)), uint64(i), size); err != nil {
			return err
		}
	}
	return nil
}

func makeMany(dir string, scale float64) error {
	for i := range int(scale * 300_000) {
		sub := filepath.Join(dir, fmt.Sprintf("pool/%02x/package%d", i/50%64, i/50))
		if i%50 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("package-name_%d.%d-1_amd64.deb", i, i%7)), []byte("x"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func makeChanged(dir string, scale float64) error {
	size := int64(scale * (1 << 30))
	path := filepath.Join(dir, "image.iso")
	if err := random(path, 77, size); err != nil {
		return err
	}
	return nil
}

// oldVersion writes the file with one per cent of its content replaced, in a
// hundred places, and an insertion that shifts all behind it.
func oldVersion(src, dst string) error {
	data, err := os.ReadFile(filepath.Join(src, "image.iso"))
	if err != nil {
		return err
	}
	step := len(data) / 100
	for i := range 100 {
		clear(data[i*step : i*step+step/100])
	}
	half := len(data) / 2
	f, err := os.Create(filepath.Join(dst, "image.iso"))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, part := range [][]byte{data[:half], []byte("inserted"), data[half:]} {
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func makeLinks(dir string, scale float64) error {
	for i := range int(scale * 20_000) {
		sub := filepath.Join(dir, fmt.Sprintf("snap%d", i%4))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		path := filepath.Join(sub, fmt.Sprintf("file%d", i/4))
		if i%4 == 0 {
			if err := random(path, uint64(i), 1000); err != nil {
				return err
			}
			continue
		}
		if err := os.Link(filepath.Join(dir, "snap0", fmt.Sprintf("file%d", i/4)), path); err != nil {
			return err
		}
	}
	return nil
}
