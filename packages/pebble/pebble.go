// Package pebble runs Debian's pebble, a small certificate authority that speaks
// ACME, as a peer for tests: with its own root, on loopback, rejecting nonces and
// taking its time if asked to.
//
// It looks up names at a fake name server (pebble-challtestsrv) that answers every
// question with 127.0.0.1, and fetches challenges from the port in Config. All
// files are below Config.Dir. Both programs end with Close, or with the process
// that started them.
package pebble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"crypto/tls"

	"micromirror/packages/authority"
)

// Config says how the authority behaves.
type Config struct {
	Dir         string
	HTTPPort    int           // where challenges are fetched
	Addresses   []string      // names and addresses it goes by, beside 127.0.0.1
	RejectNonce int           // percent
	Sleep       time.Duration // before a challenge is fetched
	Validity    time.Duration // of certificates; 0 for the usual years
	Elsewhere   []string      // names that lead to a place where nobody is
}

// Server is a running authority.
type Server struct {
	URL  string // of the directory, by 127.0.0.1
	Port int
	CA   []byte // PEM: whom to believe at URL

	client     *http.Client
	management string
	programs   []*exec.Cmd
}

// Start starts an authority and waits until it answers.
func Start(ctx context.Context, c Config) (_ *Server, err error) {
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	s := &Server{Port: ports[0], URL: fmt.Sprintf("https://127.0.0.1:%d/dir", ports[0]), management: fmt.Sprintf("https://127.0.0.1:%d", ports[1])}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.writeFiles(c, ports); err != nil {
		return nil, fmt.Errorf("start pebble: %w", err)
	}
	dns := loopback(ports[2])
	if err := s.run(ctx, c, nil, "pebble-challtestsrv", "-defaultIPv6", "", "-dns01", dns,
		"-http01", "", "-https01", "", "-tlsalpn01", "", "-management", loopback(ports[3])); err != nil {
		return nil, err
	}
	env := []string{"PEBBLE_WFE_NONCEREJECT=" + strconv.Itoa(c.RejectNonce), "PEBBLE_VA_SLEEPTIME=" + strconv.Itoa(int(c.Sleep/time.Second)), "PEBBLE_VA_NOSLEEP=" + noSleep(c.Sleep)}
	if err := s.run(ctx, c, env, "pebble", "-config", filepath.Join(c.Dir, "config.json"), "-dnsserver", dns); err != nil {
		return nil, err
	}
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	for _, name := range c.Elsewhere {
		if err := retry(ctx, func() error { return mislead(ctx, loopback(ports[3]), name) }); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// mislead makes the name server say for a name that it is at an address of loopback
// where nobody is.
func mislead(ctx context.Context, management, name string) error {
	body := fmt.Sprintf(`{"host":%q,"addresses":["127.0.0.99"]}`, name+".")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+management+"/add-a", strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("mislead: %w", err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("mislead: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("mislead: %s", resp.Status)
	}
	return nil
}

func noSleep(d time.Duration) string {
	if d > 0 {
		return ""
	}
	return "1"
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts finds ports of loopback that nobody uses.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a port: %w", err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// writeFiles makes pebble's own certificate and its configuration.
func (s *Server) writeFiles(c Config, ports []int) error {
	ca, err := authority.New()
	if err != nil {
		return err
	}
	own, err := ca.Issue(time.Now().Add(12*time.Hour), append([]string{"127.0.0.1", "localhost"}, c.Addresses...)...)
	if err != nil {
		return err
	}
	s.CA = ca.PEM()
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}}
	file := filepath.Join(c.Dir, "own.pem")
	config := map[string]any{
		"listenAddress": loopback(ports[0]), "managementListenAddress": loopback(ports[1]),
		"certificate": file, "privateKey": file, "httpPort": c.HTTPPort, "tlsPort": ports[0],
		"ocspResponderURL": "", "externalAccountBindingRequired": false, "retryAfter": map[string]int{"authz": 1, "order": 1},
	}
	if c.Validity > 0 {
		config["certificateValidityPeriod"] = int(c.Validity / time.Second)
	}
	data, err := json.Marshal(map[string]any{"pebble": config})
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(file, own, 0o600), os.WriteFile(filepath.Join(c.Dir, "config.json"), data, 0o600))
}

// run starts one of the programs; what it says goes to <dir>/<name>.log.
func (s *Server) run(ctx context.Context, c Config, env []string, name string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(c.Dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.programs = append(s.programs, cmd)
	return nil
}

// wait asks until the authority answers.
func (s *Server) wait(ctx context.Context) error {
	err := retry(ctx, func() error {
		_, err := s.get(ctx, s.URL)
		return err
	})
	if err != nil {
		return fmt.Errorf("pebble does not answer: %w", err)
	}
	return nil
}

// retry calls until there is no error, for two minutes.
func retry(ctx context.Context, call func() error) error {
	for end := time.Now().Add(2 * time.Minute); ; {
		err := call()
		if err == nil || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *Server) get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// Root returns the PEM of the root that vouches for what is issued.
func (s *Server) Root(ctx context.Context) ([]byte, error) {
	return s.get(ctx, s.management+"/roots/0")
}

// Close ends the programs. How they end does not matter any more.
func (s *Server) Close() {
	for _, cmd := range s.programs {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
