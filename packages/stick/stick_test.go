package stick

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// repository is a small one, as far as Collect looks at it.
func repository() fstest.MapFS {
	return fstest.MapFS{
		"metadata/1.root.json":     {Data: []byte(`{"root":1}`)},
		"metadata/2.root.json":     {Data: []byte(`{"root":2}`)},
		"metadata/timestamp.json":  {Data: []byte(`{"signed":{"meta":{"snapshot.json":{"version":7}}}}`)},
		"metadata/6.snapshot.json": {Data: []byte(`{}`)},
		"metadata/7.snapshot.json": {Data: []byte(`{"signed":{"meta":{"targets.json":{"version":5}}}}`)},
		"metadata/5.targets.json": {Data: []byte(`{"signed":{"targets":{"config/nodes/one.json":{"hashes":{"sha256":"ab12"}},
			"config/nodes/two.json":{"hashes":{"sha256":"cd34"}}}}}`)},
		"targets/config/nodes/ab12.one.json": {Data: []byte(`{"name":"one"}`)},
		"targets/config/nodes/cd34.two.json": {Data: []byte(`{"name":"two"}`)},
		"targets/releases/1/ff.root.img":     {Data: []byte("not for sticks")},
	}
}

func TestWhatIsPackedComesOut(t *testing.T) {
	files, err := Collect(repository(), "config/nodes/one.json")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Pack(files)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Unpack(b)
	if err != nil {
		t.Fatal(err)
	}
	want := Files{}
	for _, name := range []string{"metadata/1.root.json", "metadata/2.root.json", "metadata/timestamp.json", "metadata/7.snapshot.json",
		"metadata/5.targets.json", "targets/config/nodes/ab12.one.json"} {
		want[name] = repository()[name].Data
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if again, err := Pack(files); err != nil || !bytes.Equal(again, b) {
		t.Errorf("packed again it differs: %v", err)
	}
}

func TestCollectNamesWhatIsMissing(t *testing.T) {
	if _, err := Collect(repository(), "config/nodes/six.json"); err == nil || err.Error() != "config/nodes/six.json is not published" {
		t.Errorf("an unknown node: %v", err)
	}
	r := repository()
	delete(r, "metadata/7.snapshot.json")
	if _, err := Collect(r, "config/nodes/one.json"); err == nil || !strings.Contains(err.Error(), "metadata/7.snapshot.json") {
		t.Errorf("without a snapshot: %v", err)
	}
	if _, err := Pack(Files{"metadata/x": make([]byte, MaxSize)}); err == nil || !strings.Contains(err.Error(), "remove old releases") {
		t.Errorf("too much: %v", err)
	}
}

// archive writes entries as they are.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	var many []tar.Header
	for i := range maxFiles + 1 {
		many = append(many, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint("metadata/", i)})
	}
	one := tar.Header{Typeflag: tar.TypeReg, Name: "metadata/timestamp.json", Size: 3}
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"noise":       {bytes.Repeat([]byte("noise"), 1000), "damaged"},
		"nothing":     {nil, "is empty"},
		"too long":    {make([]byte, MaxSize+1), "has more than"},
		"truncated":   {archive(t, one)[:513], "damaged"},
		"a link":      {archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "metadata/x", Linkname: "/etc/passwd"}), "does not belong there"},
		"a way out":   {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "metadata/../../x"}), "does not belong there"},
		"a release":   {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "targets/releases/x"}), "does not belong there"},
		"twice":       {archive(t, one, one), "does not belong there"},
		"many files":  {archive(t, many...), "files"},
		"huge sparse": {archive(t, tar.Header{Typeflag: tar.TypeReg, Name: "metadata/x", Size: 1 << 10})[:600], "damaged"},
	} {
		if _, err := Unpack(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// Whatever is on a stick, what comes out is bounded and has names that belong there.
func FuzzUnpack(f *testing.F) {
	files, err := Collect(repository(), "config/nodes/one.json")
	if err != nil {
		f.Fatal(err)
	}
	b, err := Pack(files)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(archive(f, tar.Header{Typeflag: tar.TypeReg, Name: "metadata/x", Size: 5, Format: tar.FormatGNU}))
	f.Add([]byte("micromirror"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Unpack(b)
		if err != nil {
			return
		}
		for name, content := range got {
			if strings.Contains(name, "..") && strings.Contains("/"+name+"/", "/../") || strings.HasPrefix(name, "/") || len(content) > MaxSize {
				t.Errorf("%q with %d bytes", name, len(content))
			}
		}
	})
}
