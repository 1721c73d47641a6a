package daemon

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"micromirror/packages/rsync/flist"
	"micromirror/packages/rsync/wire"
)

// talker is a scanner that speaks the protocol by hand.
type talker struct {
	t *testing.T
	c net.Conn
	r *wire.Reader
}

func dial(t *testing.T, addr string) *talker {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &talker{t, c, wire.NewReader(c, 4096)}
}

func (k *talker) say(s string) {
	k.t.Helper()
	if _, err := io.WriteString(k.c, s); err != nil {
		k.t.Fatal(err)
	}
}

func (k *talker) hear(want string) {
	k.t.Helper()
	if got := k.r.Line(1000); got != want {
		k.t.Fatalf("heard %q (%v), want %q", got, k.r.Err(), want)
	}
}

// list takes the seed and a file list.
func (k *talker) list(f flist.Format) []string {
	k.t.Helper()
	k.r.SetProtocol(f.Protocol)
	k.r.Int32()
	k.r.StartMultiplex()
	l, err := flist.NewDecoder(k.r, f, flist.Limits{}).Decode()
	if err != nil {
		k.t.Fatal(err)
	}
	var names []string
	for _, f := range l.All() {
		names = append(names, f.Name)
	}
	return names
}

const greeting = "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4"

// A Perl scanner greets with an old protocol over IPv4 and sends its excludes
// as options, then reads the list and hangs up.
func TestPerlScanner(t *testing.T) {
	root := filepath.Join(t.TempDir(), "src")
	tree(t, root, map[string]string{"a.foo": "", "b.iso": "b", "d/c.foo": "", "d/e": "->../b.iso", "d/f": "=b.iso"})
	addr := start(t, Config{Modules: []Module{mirrorModule(root)}})
	for protocol := 27; protocol <= 29; protocol++ {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			k := dial(t, addr)
			k.hear(greeting)
			k.say(fmt.Sprintf("@RSYNCD: %d\n", protocol))
			k.say("mirror\n")
			k.hear("@RSYNCD: OK")
			k.say("--server\n--sender\n-rl\n--exclude=*.foo\n.\nmirror/\n\n")
			k.say("\x00\x00\x00\x00")
			got := k.list(flist.Format{Protocol: protocol, Links: true})
			want := []string{".", "b.iso", "d", "d/e", "d/f"}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("list (-want +got):\n%s", diff)
			}
		})
	}
}

// The same with excludes as rules, and a path below the module.
func TestScannerWithRules(t *testing.T) {
	root := small(t)
	addr := start(t, Config{Modules: []Module{mirrorModule(root)}})
	k := dial(t, addr)
	k.say("@RSYNCD: 28\nmirror\n")
	k.hear(greeting)
	k.hear("@RSYNCD: OK")
	k.say("--server\n--sender\n-rlptH\n.\nmirror/pool/\n\n")
	for _, rule := range []string{"*.deb", "+ */"} {
		k.say(string([]byte{byte(len(rule)), 0, 0, 0}) + rule)
	}
	k.say("\x00\x00\x00\x00")
	got := k.list(flist.Format{Protocol: 28, Links: true, HardLinks: true})
	want := []string{".", "!a", "hard1", "a-b", "a-b/c", "a", "a/hard2"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

// Scanners that run the rsync program parse its list: mode, size (without
// commas when not asked for), date and time in UTC, name.
func TestListOnlyScanners(t *testing.T) {
	root := small(t)
	addr := start(t, Config{MOTD: "Welcome", Modules: []Module{mirrorModule(root)}})
	t.Setenv("TZ", "UTC")
	line := regexp.MustCompile(`^([-dl])[rwx-]{9} +([0-9]+) (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (.+)$`)
	for _, args := range [][]string{
		{"-r", "--no-motd", "--exclude=.~tmp~/", "--timeout=30", "--contimeout=30"},
		{"-r", "--no-motd", "--timeout", "14400"},
		{"-r", "--no-motd", "--protocol=28", "--exclude=*.html"},
	} {
		out := must(t, append(slices.Clone(args), "--no-h", "rsync://"+addr+"/mirror/")...)
		names := map[string]string{}
		for l := range strings.Lines(strings.TrimSpace(out)) {
			m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
			if m == nil {
				t.Fatalf("%q: line %q cannot be parsed", args, l)
			}
			names[m[4]] = m[2]
		}
		if got := names["pool/a/a_2.deb"]; got != "210000" {
			t.Errorf("%q: size of a_2.deb is %q, want 210000", args, got)
		}
		for _, hidden := range []string{"pool/unreadable", "pool/secret", ".~tmp~", ".private", "pool/.nfs0001"} {
			if names[hidden] != "" {
				t.Errorf("%q: %s is listed", args, hidden)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	addr := start(t, Config{Modules: []Module{mirrorModule(small(t))}, Refuse: []string{"checksum"}})
	for _, tt := range []struct{ arg, want string }{
		{"-c", "The server is configured to refuse --checksum (-c)"},
		{"-z", "The server is configured to refuse --compress (-z)"},
		{"--compress-choice=zlib", "The server is configured to refuse --compress (-z)"},
		{"--compress-level=0", "The server is configured to refuse --compress (-z)"},
		{"--checksum-choice=sha1", "unknown checksum name: sha1"},
		{"-X", "The server is configured to refuse --xattrs (-X)"},
		{"-A", "The server is configured to refuse --acls (-A)"},
		{"--remote-option=--nonsense", "on remote machine: --nonsense: unknown option"},
		{"--remote-option=--config=/x", "Attempt to hack rsync thwarted!"},
		{"--remote-option=--daemon", "Attempt to hack rsync thwarted!"},
		{"--remote-option=--log-file=/x", "The server is configured to refuse --log-file"},
		{"--remote-option=--files-from=/etc/passwd", "The server is configured to refuse --files-from"},
		{"--remove-source-files", "--remove-source-files cannot be used with a read-only module"},
		{"--filter=: .rsync-filter", "merge-file filter rules are not supported"},
	} {
		for _, protocol := range []string{"--protocol=29", "--protocol=30", "--protocol=32"} {
			if protocol == "--protocol=29" && (tt.arg == "-X" || tt.arg == "-A") {
				continue // the client itself refuses
			}
			out, code := run(t, "-a", tt.arg, protocol, "rsync://"+addr+"/mirror/", t.TempDir())
			if code == 0 || !strings.Contains(out, tt.want) {
				t.Errorf("rsync %s %s: exit code %d, output %q, want %q", tt.arg, protocol, code, out, tt.want)
			}
		}
	}
	out, code := run(t, "-a", t.TempDir()+"/", "rsync://"+addr+"/mirror/")
	if code == 0 || !strings.Contains(out, "module is read only") {
		t.Errorf("push: exit code %d, output %q", code, out)
	}
}

func TestFilesFrom(t *testing.T) {
	root := small(t)
	addr := start(t, Config{Modules: []Module{mirrorModule(root)}})
	list := filepath.Join(t.TempDir(), "list")
	tree(t, filepath.Dir(list), map[string]string{"list": "index.html\npool/a/a_1.deb\nzz\nnothing\n"})
	for _, protocol := range []string{"--protocol=27", "--protocol=29", "--protocol=30", "--protocol=31", "--protocol=32"} {
		dst := t.TempDir()
		out, code := run(t, "-a", protocol, "--files-from="+list, "rsync://"+addr+"/mirror/", dst)
		if code != 23 || !strings.Contains(out, `link_stat "nothing"`) {
			t.Errorf("%s: exit code %d, output %q, want 23 for the missing file", protocol, code, out)
		}
		want := []string{"index.html", "pool/a/a_1.deb"}
		if diff := gocmp.Diff(want, listFiles(t, dst)); diff != "" {
			t.Errorf("%s: files (-want +got):\n%s", protocol, diff)
		}
	}
}

func TestGreetingErrors(t *testing.T) {
	addr := start(t, Config{Modules: []Module{mirrorModule(t.TempDir())}})
	for _, tt := range []struct{ say, want string }{
		{"GET / HTTP/1.0\n", "@ERROR: protocol startup error"},
		{"@RSYNCD: 31\n", "@ERROR: your client omitted the subprotocol value: @RSYNCD: 31"},
		{"@RSYNCD: 32.0\n", "@ERROR: your client omitted the digest name list: @RSYNCD: 32.0"},
		{"@RSYNCD: 26\n", "@ERROR: protocol 26 is too old for this server"},
		{"@RSYNCD: 31.0\n#nonsense\n", "@ERROR: Unknown command '#nonsense'"},
		{"@RSYNCD: 31.0\nnothing\n", "@ERROR: Unknown module 'nothing'"},
		{"@RSYNCD: 31.0\n#early_input=3\nabcnothing\n", "@ERROR: Unknown module 'nothing'"},
		{"@RSYNCD: 31.0\n\n", "mirror         \tA mirror"},
		{"@RSYNCD: 31.0\n#list\n", "mirror         \tA mirror"},
	} {
		k := dial(t, addr)
		k.say(tt.say)
		k.hear(greeting)
		k.hear(tt.want)
	}
}
