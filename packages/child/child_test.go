package child

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play the parent that dies.
func TestMain(m *testing.M) {
	if os.Getenv("CHILD_TEST_PARENT") != "" {
		parent()
		return
	}
	os.Exit(m.Run())
}

// parent starts a child that shares its standard output, names it, and waits to
// be killed.
func parent() {
	cmd := exec.Command("sleep", "600")
	cmd.Stdout = os.Stdout
	p, err := Start(cmd)
	if err != nil {
		os.Exit(1)
	}
	os.Stdout.WriteString(strconv.Itoa(p.PID()) + "\n")
	p.Wait()
}

func TestChildDiesWithItsParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHILD_TEST_PARENT=1")
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = in
	p, err := Start(cmd)
	in.Close()
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(p.PID(), syscall.SIGKILL)
	// The grandchild holds the pipe's other end: end of file means that it died.
	if rest, err := io.ReadAll(r); err != nil {
		t.Errorf("pipe: %q, %v", rest, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid == p.PID() {
		t.Errorf("grandchild's pid line %q, %v", line, err)
	}
}

func TestKillAndStop(t *testing.T) {
	for name, end := range map[string]func(*Process){
		"kill":       (*Process).Kill,
		"stop":       func(p *Process) { p.Stop(time.Minute) },
		"kill twice": func(p *Process) { p.Kill(); p.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Start(exec.Command("sleep", "600"))
			if err != nil {
				t.Fatal(err)
			}
			end(p)
			<-p.Done()
			if err := p.Wait(); !Killed(err) {
				t.Errorf("Wait = %v, want an end by a signal", err)
			}
			if err := syscall.Kill(p.PID(), 0); err != syscall.ESRCH {
				t.Errorf("process %d still exists: %v", p.PID(), err)
			}
		})
	}
}

func TestStopKillsWhatIgnoresTheSignal(t *testing.T) {
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.Stop(time.Millisecond)
	if !Killed(p.Wait()) {
		t.Error("not killed")
	}
}

func TestStartAndExitStatus(t *testing.T) {
	if _, err := Start(exec.Command("/nonexistent/program")); err == nil {
		t.Error("starting a missing program succeeded")
	}
	p, err := Start(exec.Command("false"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err == nil || Killed(err) {
		t.Errorf("Wait = %v, want exit status 1", err)
	}
}
