package verity

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// veritysetup returns root hash and hash tree that the cryptsetup project's tool
// makes for an image of whole blocks.
func veritysetup(t *testing.T, img []byte) (root string, tree []byte) {
	t.Helper()
	dir := t.TempDir()
	data, hash := filepath.Join(dir, "data"), filepath.Join(dir, "hash")
	if err := os.WriteFile(data, img, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "/usr/sbin/veritysetup", "format", "--no-superblock", "--salt=-", "--hash=sha256",
		"--data-block-size=4096", "--hash-block-size=4096", data, hash).CombinedOutput()
	if err != nil {
		t.Fatalf("veritysetup: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`Root hash:\s+([0-9a-f]{64})`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("veritysetup: %s", out)
	}
	tree, err = os.ReadFile(hash)
	if err != nil {
		t.Fatal(err)
	}
	return string(m[1]), tree
}

func TestAgreesWithVeritysetup(t *testing.T) {
	for _, blocks := range []int{1, 2, 127, 128, 129, 128*128 - 1, 128 * 128, 128*128 + 1} {
		img := randomBytes(blocks * BlockSize)
		wantRoot, wantTree := veritysetup(t, img)
		path := filepath.Join(t.TempDir(), "root.img")
		if err := os.WriteFile(path, img, 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := Append(path)
		if err != nil || tree != (Tree{wantRoot, uint64(blocks)}) {
			t.Errorf("%d blocks: %v, %v; want %s", blocks, tree, err, wantRoot)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, append(img, wantTree...)) {
			t.Errorf("%d blocks: the tree of %d bytes differs from veritysetup's of %d", blocks, len(got)-len(img), len(wantTree))
		}
	}
}

func TestPadsToWholeBlocks(t *testing.T) {
	for _, size := range []int{1, BlockSize - 1, BlockSize + 1, 300*BlockSize - 7} {
		img := randomBytes(size)
		path := filepath.Join(t.TempDir(), "root.img")
		if err := os.WriteFile(path, img, 0o644); err != nil {
			t.Fatal(err)
		}
		tree, err := Append(path)
		padded := append(img, make([]byte, -size&(BlockSize-1))...)
		want, _, err2 := Compute(bytes.NewReader(padded))
		if err != nil || err2 != nil || tree != want {
			t.Errorf("%d bytes: %v, want %v (%v, %v)", size, tree, want, err, err2)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(got, padded) || len(got)%BlockSize != 0 {
			t.Errorf("%d bytes: the image has %d, %v", size, len(got), err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, empty + "no", filepath.Dir(empty)} {
		if tree, err := Append(path); err == nil {
			t.Errorf("Append(%s) = %v", path, tree)
		}
	}
}

func TestParseTree(t *testing.T) {
	want := Tree{strings.Repeat("0f", 32), 12345}
	if got, err := ParseTree(want.String()); err != nil || got != want {
		t.Errorf("ParseTree = %v, %v", got, err)
	}
	hash := strings.Repeat("0f", 32)
	for _, bad := range []string{"", hash, hash + ":", hash + ":0", hash + ":-1", hash + ":01", hash + ":1 ", hash[1:] + ":1",
		strings.ToUpper(hash) + ":1", hash + ":1:1", hash + ":" + strconv.Itoa(1<<41)} {
		if got, err := ParseTree(bad); err == nil {
			t.Errorf("ParseTree(%q) = %v", bad, got)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add(strings.Repeat("0f", 32) + ":12")
	f.Fuzz(func(t *testing.T, s string) {
		if tree, err := ParseTree(s); err == nil && tree.String() != s {
			t.Errorf("%q became %q", s, tree)
		}
	})
}

func BenchmarkCompute(b *testing.B) {
	img := randomBytes(16 << 20)
	b.SetBytes(int64(len(img)))
	for b.Loop() {
		if _, _, err := Compute(bytes.NewReader(img)); err != nil {
			b.Fatal(err)
		}
	}
}
