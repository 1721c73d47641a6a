package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// errText makes results comparable; only the kind of refusal matters.
func errText(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, fs.ErrPermission):
		return "denied"
	default:
		return err.Error()
	}
}

// job is what a child process does after entering its sandbox: each step is
// "verb argument", each answer errText.
type job struct {
	Policy Policy
	Steps  []string
}

const jobVar = "SANDBOX_TEST_JOB"

// TestMain doubles as the confined child.
func TestMain(m *testing.M) {
	if text := os.Getenv(jobVar); text != "" {
		os.Exit(child(text))
	}
	os.Exit(m.Run())
}

func child(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Println(err)
		return 2
	}
	if err := Enter(j.Policy, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Println(err)
		return 1
	}
	for _, step := range j.Steps {
		verb, arg, _ := strings.Cut(step, " ")
		// On other threads than the one that entered, too.
		answer := make(chan error)
		go func() { answer <- perform(verb, arg) }()
		fmt.Println(errText(<-answer))
	}
	return 0
}

func perform(verb, arg string) error {
	switch verb {
	case "read":
		_, err := os.ReadFile(arg)
		return err
	case "write":
		return os.WriteFile(arg, []byte("x"), 0o644)
	case "rename":
		from, to, _ := strings.Cut(arg, " ")
		return os.Rename(from, to)
	case "exec":
		return exec.Command(arg).Run()
	case "listen":
		l, err := net.Listen("tcp", arg)
		if err == nil {
			l.Close()
		}
		return err
	case "dial":
		c, err := net.Dial("tcp", arg)
		if err == nil {
			c.Close()
		}
		return err
	case "uid":
		if got := fmt.Sprint(os.Getuid(), os.Getegid()); got != arg {
			return fmt.Errorf("uid and gid are %s", got)
		}
		return nil
	case "chroot":
		return unix.Chroot(arg)
	}
	return fmt.Errorf("no verb %q", verb)
}

// runChild returns the answers of a confined child, or what Enter said.
func runChild(t *testing.T, p Policy, steps ...string) ([]string, error) {
	t.Helper()
	text, err := json.Marshal(job{Policy: p, Steps: steps})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), jobVar+"="+string(text), "GODEBUG=multipathtcp=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	t.Log(stderr.String())
	return strings.Split(strings.TrimSpace(string(out)), "\n"), err
}

// openDirs returns two directories that every user can enter.
func openDirs(t *testing.T) (mine, other string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	mine, other = filepath.Join(dir, "mine"), filepath.Join(dir, "other")
	for _, d := range []string{mine, other} {
		if err := Own(d, 801, 801, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "f"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return mine, other
}

func TestConfinedUser(t *testing.T) {
	mine, other := openDirs(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	policy := Policy{
		UID: 801, GID: 801,
		Read: []string{other + "/f", "/nowhere"}, Write: []string{mine}, Exec: []string{"/usr", "/lib", "/lib64"},
		Connect: []uint16{port}, Bind: []uint16{8080},
		KeepCaps: []cap.Value{cap.NET_BIND_SERVICE},
	}
	steps := []struct{ do, want string }{
		{"uid 801 801", "ok"},
		{"read " + other + "/f", "ok"},
		{"write " + other + "/f", "denied"},
		{"write " + other + "/g", "denied"},
		{"write " + mine + "/g", "ok"},
		{"rename " + mine + "/g " + mine + "/h", "ok"},
		{"rename " + mine + "/h " + other + "/h", "denied"},
		{"exec /usr/bin/true", "ok"},
		{"read /etc/passwd", "denied"},
		{"dial " + l.Addr().String(), "ok"},
		{"dial " + closed.Addr().String(), "denied"},
		{"listen 127.0.0.1:8080", "ok"},
		{"listen 127.0.0.1:8081", "denied"},
		{"listen 127.0.0.1:0", "denied"},
		{"chroot /", "denied"},
	}
	var do, want []string
	for _, s := range steps {
		do, want = append(do, s.do), append(want, s.do+": "+s.want)
	}
	got, err := runChild(t, policy, do...)
	if err != nil {
		t.Fatal(err, got)
	}
	for i := range got {
		got[i] = do[i] + ": " + got[i]
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("answers (-want +got):\n%s", d)
	}
}

func TestConfinedRootKeepsOnlyItsCapabilities(t *testing.T) {
	mine, other := openDirs(t)
	p := Policy{Write: []string{mine}, KeepCaps: []cap.Value{cap.NET_ADMIN, cap.DAC_OVERRIDE}, ConnectAny: true, BindAny: true}
	got, err := runChild(t, p, "uid 0 0", "write "+mine+"/g", "write "+other+"/g", "chroot /", "listen 127.0.0.1:0")
	if err != nil {
		t.Fatal(err, got)
	}
	if d := cmp.Diff([]string{"ok", "ok", "denied", "denied", "ok"}, got); d != "" {
		t.Errorf("answers (-want +got):\n%s", d)
	}
}

func TestMountsIsConfinedByCapabilitiesOnly(t *testing.T) {
	got, err := runChild(t, Policy{Mounts: true, KeepCaps: []cap.Value{cap.SYS_ADMIN}}, "read /etc/passwd", "chroot /")
	if err != nil {
		t.Fatal(err, got)
	}
	if d := cmp.Diff([]string{"ok", "denied"}, got); d != "" {
		t.Errorf("answers (-want +got):\n%s", d)
	}
}

// A proof that cannot fail proves nothing: run it without the confinement.
func TestProofSeesAnOpenSandbox(t *testing.T) {
	p := Policy{UID: os.Getuid(), Bind: []uint16{1}}
	err := prove(p, targets{read: []string{"/etc/passwd"}, write: []string{t.TempDir()}}, true)
	if err == nil {
		t.Fatal("the proof found nothing in an open process")
	}
	for _, want := range []string{"capabilities", "opened /etc/passwd", "created a file", "bound a foreign", "connected to a foreign"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("proof does not report %q:\n%v", want, err)
		}
	}
}

func TestTargetsLeaveOutWhatIsGranted(t *testing.T) {
	if !within("/perm/mirror/debian", []string{"/perm/mirror/"}) || within("/perm/mirrors", []string{"/perm/mirror"}) {
		t.Error("within confuses names that share a prefix")
	}
	tg := findTargets(Policy{Write: []string{"/tmp"}, Read: []string{"/dev"}})
	for _, path := range append(tg.read, tg.write...) {
		if path == "/tmp" || strings.HasPrefix(path, "/dev/") && path != "/dev" && path != "/dev/shm" {
			t.Errorf("granted path %s is a target", path)
		}
	}
}

func TestOwnRefusesASymbolicLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	if err := Own(dir+"/link", 801, 801, 0o777); err == nil {
		t.Error("gave away what a link points to")
	}
	if err := Own(dir+"/a/b", 801, 802, 0o750); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/a/b", &st); err != nil || st.Uid != 801 || st.Gid != 802 || st.Mode&0o7777 != 0o750 {
		t.Errorf("owner %d:%d, mode %o, %v", st.Uid, st.Gid, st.Mode, err)
	}
}
