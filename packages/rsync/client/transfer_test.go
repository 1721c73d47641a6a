package client

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"micromirror/packages/rsync/checksum"
	"micromirror/packages/rsync/wire"
)

// big is a module of one file of some megabytes.
func big(t testing.TB, content []byte) (src string, p *peer) {
	t.Helper()
	src = t.TempDir()
	writeFile(t, filepath.Join(src, "big.iso"), content)
	return src, startPeer(t, src)
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000, 0)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func sameContent(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the %d expected", path, len(got), len(want))
	}
}

func TestDelta(t *testing.T) {
	content := noise(rand.New(rand.NewPCG(7, 7)), 3_000_001)
	old := append(bytes.Clone(content[:1_000_000]), "inserted"...)
	old = append(old, content[1_000_000:]...)
	copy(old[500:], "changed")
	_, p := big(t, content)
	run := func(t *testing.T, cfg Config) {
		basis := filepath.Join(t.TempDir(), "old")
		writeFile(t, basis, old)
		dst := t.TempDir()
		result := pull(t, cfg, ListOptions{}, dst, func(r *Request) {
			r.Basis = func(int) (*os.File, error) { return os.Open(basis) }
		})
		sameContent(t, filepath.Join(dst, "big.iso"), content)
		if result.Literal > 20_000 || result.Matched < 2_900_000 || result.Repeated > 0 {
			t.Errorf("literal %d, matched %d, repeated %d", result.Literal, result.Matched, result.Repeated)
		}
	}
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		t.Run(fmt.Sprint("protocol ", protocol), func(t *testing.T) {
			cfg := p.config()
			cfg.Protocol = protocol
			run(t, cfg)
		})
	}
	for name := range strings.FieldsSeq(checksum.Names()) {
		t.Run(name, func(t *testing.T) {
			cfg := p.config()
			cfg.Checksums = []string{name}
			run(t, cfg)
		})
	}
}

// TestResume continues files that were cut at any byte, changed upstream or
// grew too long meanwhile.
func TestResume(t *testing.T) {
	content := noise(rand.New(rand.NewPCG(8, 8)), 2_000_003)
	_, p := big(t, content)
	changed := bytes.Clone(content[:1_500_000])
	copy(changed[700_000:], "something else")
	tests := []struct {
		name    string
		partial []byte
		literal int64 // at most
	}{
		{"nothing", nil, 2_000_003},
		{"one byte", content[:1], 2_000_003},
		{"an odd number", content[:1_234_567], 800_000},
		{"all but one", content[:2_000_002], 5_000},
		{"all", content, 0},
		{"longer", append(bytes.Clone(content), content[:5000]...), 3_000},
		{"changed inside", changed, 600_000},
		{"shifted", append([]byte("shift"), content[:1_000_000]...), 2 * 2_000_003},
	}
	for _, tt := range tests {
		for _, protocol := range []int{27, 29, 30, 32} {
			t.Run(fmt.Sprint(tt.name, " ", protocol), func(t *testing.T) {
				dst := t.TempDir()
				path := filepath.Join(dst, "big.iso")
				if tt.partial != nil {
					if err := os.WriteFile(path, tt.partial, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				cfg := p.config()
				cfg.Protocol = protocol
				result := pull(t, cfg, ListOptions{}, dst, nil)
				sameContent(t, path, content)
				if result.Literal > tt.literal {
					t.Errorf("%d bytes of data, at most %d expected", result.Literal, tt.literal)
				}
			})
		}
	}
}

// TestRepeat lets the basis change between request and answer: the checksum
// cannot match, and the file must come whole the second time.
func TestRepeat(t *testing.T) {
	content := noise(rand.New(rand.NewPCG(9, 9)), 1_000_000)
	_, p := big(t, content)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		dst, dir := t.TempDir(), t.TempDir()
		writeFile(t, filepath.Join(dir, "0"), content[:900_000])
		writeFile(t, filepath.Join(dir, "1"), content[1000:901_000])
		calls := -1
		cfg := p.config()
		cfg.Protocol = protocol
		result := pull(t, cfg, ListOptions{}, dst, func(r *Request) {
			r.Basis = func(int) (*os.File, error) {
				calls++
				return os.Open(filepath.Join(dir, fmt.Sprint(calls)))
			}
		})
		sameContent(t, filepath.Join(dst, "big.iso"), content)
		if result.Repeated != 1 || result.Received != 1 || len(result.Failed) != 0 {
			t.Errorf("protocol %d: %+v", protocol, result)
		}
	}
}

// TestFailures lets files vanish, change and become unreadable between list and
// transfer: each is reported, and the others arrive.
func TestFailures(t *testing.T) {
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			src, dst := t.TempDir(), t.TempDir()
			for _, name := range []string{"a", "grown", "gone", "link", "shrunk", "z"} {
				writeFile(t, filepath.Join(src, name), bytes.Repeat([]byte(name), 1000))
			}
			cfg := startPeer(t, src).config()
			cfg.Protocol = protocol
			result := pull(t, cfg, ListOptions{}, dst, func(*Request) {
				writeFile(t, filepath.Join(src, "grown"), make([]byte, 100_000))
				writeFile(t, filepath.Join(src, "shrunk"), make([]byte, 10))
				os.Remove(filepath.Join(src, "gone"))
				os.Remove(filepath.Join(src, "link"))
				os.Symlink("/etc/passwd", filepath.Join(src, "link"))
			})
			got := map[string]string{}
			for _, err := range result.Failed {
				name := strings.Trim(strings.Fields(strings.TrimPrefix(err.Error(), "receive "))[0], `":`)
				switch {
				case errors.Is(err, ErrVanished):
					got[name] = "vanished"
				case errors.Is(err, ErrChanged):
					got[name] = "changed"
				default:
					got[name] = "unreadable"
				}
			}
			want := map[string]string{"gone": "vanished", "grown": "changed", "shrunk": "changed", "link": "unreadable"}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if result.Received != 2 || result.Code() != 23 {
				t.Errorf("received %d, code %d, messages %q", result.Received, result.Code(), result.Messages)
			}
			sameContent(t, filepath.Join(dst, "z"), bytes.Repeat([]byte("z"), 1000))
		})
	}
}

func TestSparse(t *testing.T) {
	content := make([]byte, 8<<20)
	copy(content[1<<20:], "data")
	copy(content[5<<20-2:], "data")
	_, p := big(t, content)
	dst := t.TempDir()
	pull(t, p.config(), ListOptions{}, dst, func(r *Request) { r.Sparse = true })
	path := filepath.Join(dst, "big.iso")
	sameContent(t, path, content)
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > 1<<20 {
		t.Errorf("%d KiB on disk", st.Blocks/2)
	}
}

// TestDestinationUnsafe puts links where files are to be written.
func TestDestinationUnsafe(t *testing.T) {
	src, p := big(t, []byte("content"))
	writeFile(t, filepath.Join(src, "other"), []byte("content"))
	dst, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	writeFile(t, outside, []byte("untouched"))
	if err := os.Symlink(outside, filepath.Join(dst, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dst, "dir")); err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), p.config())
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.List(t.Context(), ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stage, err := os.OpenRoot(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer stage.Close()
	result, err := c.Transfer(t.Context(), Request{
		Files: []int{1, 2}, Stage: stage,
		Dest: func(i int) string { return map[string]string{"big.iso": "link", "other": "dir/outside"}[list.Name(i)] },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Failed) != 2 {
		t.Errorf("failed: %v", result.Failed)
	}
	sameContent(t, outside, []byte("untouched"))
}

func TestProgress(t *testing.T) {
	content := noise(rand.New(rand.NewPCG(1, 1)), 1_000_000)
	_, p := big(t, content)
	var last Progress
	pull(t, p.config(), ListOptions{}, t.TempDir(), func(r *Request) { r.Progress = func(p Progress) { last = p } })
	last.BytesPerSecond, last.ETA = 0, 0
	want := Progress{Files: 1, FilesTotal: 1, Bytes: 1_000_000, BytesTotal: 1_000_000}
	if diff := gocmp.Diff(want, last); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestChecksums asks for the checksum of each file in the list.
func TestChecksums(t *testing.T) {
	content := []byte("some content")
	_, p := big(t, content)
	for protocol := wire.MinProtocol; protocol <= wire.MaxProtocol; protocol++ {
		cfg := p.config()
		cfg.Protocol = protocol
		c, err := Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		list, err := c.List(t.Context(), ListOptions{Checksum: true})
		if err != nil {
			t.Fatal(err)
		}
		i, _ := list.Find("big.iso")
		if got, want := list.Checksum(i), string(c.FileSum(content)); got != want {
			t.Errorf("protocol %d: %x, want %x", protocol, got, want)
		}
		c.Close()
	}
}
